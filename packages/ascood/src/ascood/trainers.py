"""From `trainer.name` and its values in the config to an objective, checked before anything is built."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ood_shared.errors import InputError, did_you_mean, unknown
from torch import Tensor, nn

from ascood.heads import ASCOODNet, T2FNormNet
from ascood.objectives import (
    AscoodArgs,
    Losses,
    MixArgs,
    Objective,
    Pass,
    alpha_at,
    ascood_step,
    base_step,
    check_network,
    logitnorm_step,
    mixoe_step,
    oe_step,
)

TRAINERS = ("ascood", "base", "t2fnorm", "logitnorm", "oe", "mixoe")
OUTLIER_TRAINERS = ("oe", "mixoe")
Arguments = AscoodArgs | MixArgs | dict[str, float]


@dataclass(frozen=True)
class TrainerSettings:
    """A `trainer` block: a name of `TRAINERS`, and its hyper-parameters."""

    name: str
    arguments: Arguments

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "TrainerSettings":
        """Of a block.

        Raises:
            InputError: an unknown trainer, a value of another kind or out of its range.
        """
        name = str(block.get("name"))
        if name not in TRAINERS:
            raise unknown("trainer.name", name, TRAINERS)
        return cls(name, _arguments(name, block))

    @property
    def with_outliers(self) -> bool:
        """Whether the split `oe` is trained on."""
        return self.name in OUTLIER_TRAINERS


def _arguments(name: str, block: Mapping[str, Any]) -> Arguments:
    args = dict(block.get("trainer_args") or {})
    if name == "ascood":
        return AscoodArgs(**_typed(args, AscoodArgs, "trainer.trainer_args"))
    if name == "mixoe":
        own = {key: value for key, value in block.items() if key not in ("name", "trainer_args")}
        return MixArgs(**_typed(own, MixArgs, "trainer"))
    if name == "oe":
        return {"lambda_oe": _number(block.get("lambda_oe", 0.5), "trainer.lambda_oe")}
    if name in ("logitnorm", "t2fnorm"):
        tau = _number(args.get("tau", 0.04 if name == "logitnorm" else 0.1), "trainer.trainer_args.tau")
        if not tau > 0:
            raise InputError(f"trainer.trainer_args.tau is {tau}; expected a number above 0.")
        return {"tau": tau}
    return {}


def make_objective(trainer: TrainerSettings, network: nn.Module, run: Pass) -> Objective:
    """The trainer's objective; the network's head takes its parameter (sigma or tau)."""
    name, args = trainer.name, trainer.arguments
    check_network(name, network)
    if isinstance(args, AscoodArgs):
        assert isinstance(network, ASCOODNet)
        network.set_params(args.sigma)
        return _ascood(run, args)
    if isinstance(args, MixArgs):
        return Objective(
            _with_outliers(mixoe_step, run, args), uses_outliers=True, skips_last=True, settings=asdict(args)
        )
    if isinstance(network, T2FNormNet) and name == "t2fnorm":
        network.set_params(args["tau"])

    def step(images: Tensor, labels: Tensor, outliers: Tensor | None, alpha: float) -> Losses:
        if name == "oe":
            assert outliers is not None
            return oe_step(run, images, labels, outliers, args["lambda_oe"])
        if name == "logitnorm":
            return logitnorm_step(run, images, labels, args["tau"])
        return base_step(run, images, labels)

    return Objective(step, uses_outliers=name == "oe", settings=args)


def _ascood(run: Pass, args: AscoodArgs) -> Objective:
    def step(images: Tensor, labels: Tensor, outliers: Tensor | None, alpha: float) -> Losses:
        return ascood_step(run, args, images, labels, alpha)

    def alpha(epoch: int, epochs: int) -> float:
        return alpha_at(epoch, epochs, args.alpha_min, args.alpha_max)

    return Objective(step, alpha, settings=asdict(args))


def _with_outliers(function: Callable[..., Losses], run: Pass, args: Any) -> Callable[..., Losses]:
    def step(images: Tensor, labels: Tensor, outliers: Tensor | None, alpha: float) -> Losses:
        return function(run, args, images, labels, outliers)

    return step


def _typed(values: Mapping[str, Any], kind: Any, where: str) -> dict[str, Any]:
    """The values that the dataclass has, each of its type; others are told and left out."""
    known = {field.name: field.type for field in fields(kind)}
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            print(f"warning: {where}.{key} is not used. {did_you_mean(key, known)}", file=sys.stderr)
        elif known[key] in (float, "float"):
            typed[key] = _number(value, f"{where}.{key}")
        else:
            typed[key] = str(value)
    return typed


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{key} is {value!r}; expected a number (an exponent needs a dot: 5.0e-4).")
    return float(value)

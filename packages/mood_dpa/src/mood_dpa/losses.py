"""The loss that a configuration names: the perceptual one, or plain L1 and L2."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mood_dpa.kinds import check_kinds
from mood_dpa.perceptual import PerceptualLoss, check_reduction, reduce_values
from mood_dpa.standalone import InputError, unknown
from mood_dpa.vgg import VGG19

LOSS_TYPES = ("relative_perceptual_L1", "perceptual", "l1", "l2")
_COMMON = (
    *("weights_per_resolution", "reduction", "use_smooth_pg", "pad_type", "path_to_vgg19_weights"),
    *("normalize_to_vgg_input", "imagenet_pretrained", "mode_3d", "mode_3d_apply_along_axes"),
)
SWITCHES = ("use_smooth_pg", "normalize_to_vgg_input", "normalize_vgg_input", "imagenet_pretrained", "mode_3d")


class PlainLoss(nn.Module):
    """Mean of |x - y| or (x - y)^2 over each image; `pixelwise` is the map |x - y| (n, c, h, w)."""

    def __init__(self, reduction: str = "mean", power: int = 1) -> None:
        super().__init__()
        check_reduction(reduction)
        if reduction == "pixelwise" and power != 1:
            raise InputError("loss_type l2 has no pixelwise reduction; take l1.")
        self.reduction, self.power = reduction, power

    def set_stage(self, stage: str, resolution: int) -> None:
        """Nothing depends on it."""

    def set_progress(self, progress: float) -> None:
        """Nothing depends on it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """As `PerceptualLoss.forward`."""
        error = (x.float() - y.float()).abs()
        if self.reduction == "pixelwise":
            return error
        values = (error if self.power == 1 else error.square()).flatten(1).mean(1)
        return reduce_values(values, self.reduction)


def make_loss(
    loss_type: str, loss_kwargs: Mapping[str, Any], features: VGG19 | None = None
) -> PerceptualLoss | PlainLoss:
    """The loss of a configuration.

    Args:
        loss_type: one of `LOSS_TYPES`.
        loss_kwargs: its arguments; the old name `normalize_vgg_input` means `normalize_to_vgg_input`.
        features: VGG19 to share; by default the one that the arguments name is loaded.

    Raises:
        InputError: an unknown type or argument.
    """
    if loss_type not in LOSS_TYPES:
        raise unknown("loss_type", str(loss_type), LOSS_TYPES)
    kwargs = dict(loss_kwargs)
    check_kinds(kwargs, f"loss_kwargs of {loss_type}")
    empty = next((name for name in SWITCHES if name in kwargs and kwargs[name] is None), None)
    if empty is not None:
        raise InputError(f"loss_kwargs of {loss_type}: `{empty}` is empty; expected true or false.")
    if loss_type in {"l1", "l2"}:
        volumes_too = {k: v for k, v in kwargs.items() if k not in {"mode_3d", "mode_3d_apply_along_axes"}}
        _check_names(volumes_too, ("reduction",), loss_type)
        return PlainLoss(**volumes_too, power=1 if loss_type == "l1" else 2)
    if "normalize_vgg_input" in kwargs:
        kwargs["normalize_to_vgg_input"] = kwargs.pop("normalize_vgg_input")
    known = [*_COMMON]
    if loss_type == "perceptual":
        known += ["use_L1_norm", "use_relative_error"]
    _check_names(kwargs, known, loss_type)
    if "weights_per_resolution" not in kwargs or not kwargs["weights_per_resolution"]:
        raise InputError(f"loss_type {loss_type} needs weights_per_resolution.")
    if loss_type == "relative_perceptual_L1":
        kwargs |= {"use_L1_norm": True, "use_relative_error": True}
    return PerceptualLoss(**kwargs, features=features)


def uses_layers(loss_kwargs: Mapping[str, Any]) -> bool:
    """Whether a loss of these arguments looks at layers of VGG19."""
    return any(
        (entry or {}).get("feature_weights") for entry in (loss_kwargs.get("weights_per_resolution") or {}).values()
    )


def _check_names(kwargs: Mapping[str, Any], known: Sequence[str], loss_type: str) -> None:
    for name in kwargs:
        if name not in known:
            raise unknown(f"loss_kwargs of {loss_type}:", name, known)

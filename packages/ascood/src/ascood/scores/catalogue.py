"""Scores by name, with the hyper-parameters of their yml files."""

from collections.abc import Iterable, Mapping
from typing import Any

from ood_shared.errors import InputError, unknown

from ascood import config
from ascood.scores import from_activations, from_distances, from_logits, from_subspaces
from ascood.scores.base import FeatureScore
from ascood.scores.names import ALIASES, OUT_OF_SCOPE, SCORES
from ascood.scores.odin import IODIN, ODIN

AnyScore = FeatureScore | ODIN

CLASSES: dict[str, type[FeatureScore] | type[ODIN]] = {
    kind.name: kind
    for kind in (
        *(from_logits.MSP, from_logits.MLS, from_logits.Energy, from_logits.TemperatureScaling, from_logits.GEN),
        *(from_logits.KLMatching, from_logits.GradNorm, from_logits.T2FNorm, from_logits.SHE),
        *(from_distances.KNN, from_distances.Mahalanobis, from_distances.RelativeMahalanobis, from_distances.NNGuide),
        *(from_distances.Relation, from_distances.FDBD),
        *(from_activations.ReAct, from_activations.ASH, from_activations.Scale, from_activations.DICE),
        *(from_subspaces.ViM, from_subspaces.Residual),
        *(ODIN, IODIN),
    )
}


def make_score(name: str, overrides: Mapping[str, Any] | None = None) -> AnyScore:
    """A score with the values of `configs/postprocessors/<name>.yml`, the working folder's file first.

    Args:
        name: of `SCORES`, or an alias.
        overrides: hyper-parameters that win over the file; a score with overrides is not searched.

    Raises:
        InputError: the name is not known, or the file does not fit it.
    """
    name = ALIASES.get(name, name)
    if name in OUT_OF_SCOPE:
        raise InputError(f"--postprocessor `{name}` is not built: {OUT_OF_SCOPE[name]}. Known: {', '.join(SCORES)}.")
    if name not in CLASSES:
        raise unknown("Score", name, [*SCORES, "all"])
    file = f"configs/postprocessors/{name}.yml"
    yml = config.load_config([file])
    args = dict(config.get(yml, "postprocessor.postprocessor_args") or {})
    args.update(overrides or {})
    sweep = config.get(yml, "postprocessor.postprocessor_sweep") or {}
    kind = CLASSES[name]
    search = bool(config.get(yml, "postprocessor.APS_mode", False)) and bool(sweep) and not overrides
    lists = tuple(values if isinstance(values, list) else [values] for values in sweep.values())
    if search and len(lists) != len(kind.order):
        raise InputError(
            f"{file} sweeps {len(lists)} lists; {name} takes {len(kind.order)}: {', '.join(kind.order) or 'none'}."
        )
    return kind(args=args, sweep=lists, search=search)


def check_arguments(score: AnyScore, arguments: Iterable[str]) -> None:
    """Refuse hyper-parameters that a score does not have: a misspelt one would leave the default, without a word.

    Raises:
        InputError: names the first one.
    """
    known = dict.fromkeys([*make_score(score.name).args, *score.order, *score.switches])
    for word in arguments:
        if word not in known:
            raise unknown(f"Argument of {score.name}", str(word), list(known))

"""Intensities of volumes: the networks know [0, 1], and every way in looks at a volume's range, once, here.

A rule says how others get there. It is kept with what a training leaves, and what scores follows it:

    none                    they have to lie in [0, 1] already; save_2D alone takes what overshoots by less than half
                            of that, as the published one did with resampled volumes, and says so
    any-range               they are taken as they are, as by the published program, with a warning for each volume
    minmax                  from the volume's own least to its greatest value
    percentile LOW HIGH     between two percentiles of the volume, clipped outside
    window CENTER WIDTH     between fixed values, clipped outside: Hounsfield units of CT
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError, did_you_mean

NUMBERS = {"none": (), "any-range": (), "minmax": (), "percentile": ("LOW", "HIGH"), "window": ("CENTER", "WIDTH")}
SLACK = 1e-3  # of [0, 1], for numbers that were rounded on their way
LIMITS = -0.5, 1.5  # values beyond are of another scale than [0, 1]; save_2D takes those between
MOST = 1e30  # of the numbers of a rule
WAYS = "--rescale minmax, --rescale percentile LOW HIGH or --rescale window CENTER WIDTH"
INSIDE, NEAR, OUTSIDE = "inside", "near", "outside"
USUAL = 0.1, 99.9  # percentiles that `rescaled` and `mood-dpa rescale` take


@dataclass(frozen=True)
class Rule:
    """How intensities get to [0, 1].

    Attributes:
        kind: one of `NUMBERS`.
        numbers: percentiles, or centre and width in the volume's own unit.
    """

    kind: str = "none"
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{number:.10g}" for number in self.numbers)])

    @property
    def changes(self) -> bool:
        """Whether it makes other numbers of a volume's."""
        return self.kind not in ("none", "any-range")

    @classmethod
    def of(cls, words: object, where: str = "--rescale") -> "Rule":
        """Of a text such as `window 40 400`, or of its words.

        Raises:
            InputError: no such rule, or numbers that it cannot have; `where` names the flag or key.
        """
        kind, *rest = (str(words) if not isinstance(words, list | tuple) else " ".join(map(str, words))).split() or [""]
        if kind not in NUMBERS:
            raise InputError(f"{where} `{kind[:40]}` is not known. {did_you_mean(kind[:40], NUMBERS)}")
        names = NUMBERS[kind]
        if len(rest) != len(names):
            wanted = f"{kind} {' '.join(names)}" if names else f"{kind} without numbers"
            raise InputError(f"{where} {kind} has {len(rest)} words after it; expected {wanted}.")
        try:
            numbers = tuple(float(word) for word in rest)
        except ValueError:
            numbers = (math.nan,)
        if not all(math.isfinite(number) and abs(number) < MOST for number in numbers):
            raise InputError(f"{where} {kind}: `{' '.join(rest)[:80]}` are no numbers; expected {' '.join(names)}.")
        if kind == "percentile" and not 0 <= numbers[0] < numbers[1] <= 100:
            raise InputError(f"{where} percentile {rest[0]} {rest[1]}: expected 0 <= LOW < HIGH <= 100.")
        if kind == "window" and not numbers[1] > 0:
            raise InputError(f"{where} window {rest[0]} {rest[1]}: expected a WIDTH above 0.")
        return cls(kind, numbers)

    def apply(self, data: npt.NDArray[np.floating], name: str, overshoot: bool = False) -> npt.NDArray[np.floating]:
        """A volume's intensities as the networks know them.

        Args:
            data: of any shape, finite.
            name: of the volume, for messages.
            overshoot: take values in `LIMITS` with a warning where there is no rule.

        Returns:
            float32 in [0, 1] when the rule changes anything, else the array itself.

        Raises:
            InputError: beyond [0, 1] and no rule; within, though a window of other values is to be cut out.
        """
        low, high, place = range_of(data)
        if self.kind == "none" and place != INSIDE and not (overshoot and place == NEAR):
            raise InputError(
                f"{name} has values from {low:g} to {high:g}; expected [0, 1]. Run `mood-dpa rescale`, or pass {WAYS} "
                "(--any-range takes them as they are)."
            )
        if not self.changes and place != INSIDE:
            taken = "as a resampling overshoots; training and scoring refuse them: clip the volume, or pass --rescale"
            why = "--any-range" if self.kind == "any-range" else taken
            print(
                f"warning: {name} has values from {low:g} to {high:g}; the networks know [0, 1] ({why}).",
                file=sys.stderr,
                flush=True,
            )
        if not self.changes:
            return data
        if self.kind == "minmax":
            return between(data, low, high)
        if self.kind == "percentile":
            return rescaled(data, *self.numbers)
        bottom, top = self.numbers[0] - self.numbers[1] / 2, self.numbers[0] + self.numbers[1] / 2
        if place != OUTSIDE and high > low and top - bottom > 2:
            raise InputError(
                f"{name} has values from {low:g} to {high:g}, as after rescaling; `{self}` is a rule for others. Pass "
                "the volume as it was, or --rescale none."
            )
        return between(data, bottom, top)


def range_of(data: npt.NDArray[np.floating]) -> tuple[float, float, str]:
    """Least and greatest value, and whether both lie `inside` of [0, 1], `near` it, or `outside`, as NaN does."""
    low, high = float(data.min()), float(data.max())
    if low >= -SLACK and high <= 1 + SLACK:
        return low, high, INSIDE
    return low, high, NEAR if low >= LIMITS[0] and high <= LIMITS[1] else OUTSIDE


def between(data: npt.NDArray[np.floating], bottom: float, top: float) -> npt.NDArray[np.float32]:
    """Linear from `bottom`, which becomes 0, to `top`, which becomes 1; clipped outside. A constant becomes 0."""
    scaled = np.clip((data.astype(np.float64) - bottom) / max(top - bottom, 1e-12), 0, 1)
    return scaled.astype(np.float32)


def rescaled(data: npt.NDArray[np.floating], low: float = USUAL[0], high: float = USUAL[1]) -> npt.NDArray[np.float32]:
    """Intensities in [0, 1]: linear between two percentiles, clipped outside.

    Args:
        data: any intensities (Hounsfield units, MR signal, …).
        low: percentile that becomes 0.
        high: percentile that becomes 1.
    """
    bottom, top = (float(value) for value in np.percentile(data, (low, high)))
    return between(data, bottom, top)


NONE = Rule()


def body_rescaled(
    data: npt.NDArray[np.floating], rule: Rule, threshold: float | None, name: str
) -> npt.NDArray[np.float32]:
    """Intensities in [0, 1] of which those of air are exactly 0; the rule's values are those of the body.

    Args:
        data: any intensities.
        rule: one that changes something.
        threshold: in the unit of `data`; voxels not above it are air. None takes Otsu's.
        name: of the volume, for messages.

    Raises:
        InputError: no voxel is above the threshold.
    """
    limit = otsu(data) if threshold is None else threshold
    body = data > limit
    if not body.any():
        raise InputError(f"{name} has no voxel above the threshold {limit:g} of --body. Lower it.")
    found = np.zeros(data.shape, np.float32)
    found[body] = rule.apply(data[body], name)
    return found


def agreed(given: Rule | None, trained: Sequence[str | None]) -> Rule:
    """The rule that scores are made with: that of the training, unless another can be meant; what is odd is said.

    Args:
        given: by hand, or None.
        trained: by each model; None where the model does not tell.

    Raises:
        InputError: the models were trained with different rules, or `given` is another than theirs.
    """
    told = sorted({word for word in trained if word is not None})
    if len(told) > 1 and given is None:
        raise InputError(
            f"The models were trained with different intensities: {' and '.join(f'`{word}`' for word in told)}. Take "
            "models of one rule."
        )
    learned = Rule.of(told[0], "the rule of the training") if told else None
    if given is None:
        if learned is not None and learned.kind != "none":
            _note(f"volumes are rescaled as in training: {learned}.")
        return learned or Rule()
    different = [word for word in told if word != str(given)]
    if given.changes and any(Rule.of(word).changes for word in different):
        raise InputError(
            f"--rescale is `{given}`, the training had `{different[0]}`; scores would mean nothing. Leave the flag out."
        )
    if given.changes and (different or not told):
        _note(f"volumes are rescaled by `{given}`, which the training did not; make sure that its volumes were, too.")
    elif different:
        _note(f"volumes are taken by `{given}`, though the training had `{different[0]}`.")
    return given


def refuse_other_slices(made: str | None, trained: str | None, where: object) -> None:
    """Refuse slices that were made by another rule than the training's, where both are told.

    Raises:
        InputError: they were.
    """
    if made is not None and trained is not None and made != trained and "any-range" not in (made, trained):
        raise InputError(
            f"{where} holds slices whose intensities were rescaled by `{made}`, the model was trained by `{trained}`. "
            "Make them by the rule of the training."
        )


def otsu(values: npt.NDArray[np.floating], bins: int = 256) -> float:
    """Otsu's threshold: of all that divide the histogram in two, the one with the greatest variance between both.

    Source: Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9(1), 1979.
    """
    counts, edges = np.histogram(values, bins)
    share = np.cumsum(counts) / counts.sum()
    centres = (edges[:-1] + edges[1:]) / 2
    moment = np.cumsum(counts * centres) / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (moment[-1] * share - moment) ** 2 / (share * (1 - share))
    return float(edges[1 + int(np.nanargmax(np.nan_to_num(variance, nan=-1)))])


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)

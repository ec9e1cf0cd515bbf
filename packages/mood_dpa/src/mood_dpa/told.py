"""What `mood_dpa.load` is told of trainings beside their path, checked before a file is read."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared.errors import InputError, one_line

from mood_dpa.kinds import SIDE
from mood_dpa.scoring_settings import InferenceSettings, PredictionSettings


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_axis(value: Any) -> bool:
    return _whole(value) and value in (0, 1, 2)


def _is_area(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return 0 <= float(value) < math.inf


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "small_area": ("a finite number from 0 on", _is_area),
    "delete_zero_area": ("True or False", lambda value: isinstance(value, bool)),
    "cube": (f"a whole number from 1 to {SIDE}", lambda value: _whole(value) and 1 <= value <= SIDE),
}


@dataclass(frozen=True)
class Told:
    """Arguments of `load` that a configuration decides where there is one; None where they are not given."""

    axes: int | Sequence[int] | None = None
    small_area: float | None = None
    delete_zero_area: bool | None = None
    cube: int | None = None

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            InputError: names the first.
        """
        listed = _listed(self.axes)
        if self.axes is not None and not all(map(_is_axis, listed)):
            raise InputError(f"axes are {one_line(listed, 60)}; expected 0, 1 or 2.")
        for word, (expected, fits) in KINDS.items():
            value = getattr(self, word)
            if value is not None and not fits(value):
                raise InputError(f"{word} is {one_line(repr(value), 60)}; expected {expected}.")

    def axes_of(self, count: int) -> list[int]:
        """The axis of each of so many models, as told; one axis is that of all."""
        return [int(axis) for axis in _listed(self.axes) * (count if _whole(self.axes) else 1)]

    def refuse_other(self, settings: PredictionSettings | InferenceSettings, path: Path) -> None:
        """Refuse what differs from a configuration.

        Raises:
            InputError: names it, with both values.
        """
        if isinstance(settings, PredictionSettings):
            axes, areas = [e.axis for e in settings.models], [e.small_area for e in settings.models]
        else:
            axes, areas = [settings.axis], [settings.small_area]
        self._same("axes", None if self.axes is None else self.axes_of(len(axes)), axes, path)
        self._same("small_area", self.small_area, sorted(set(areas)), path)
        self._same("delete_zero_area", self.delete_zero_area, settings.delete_zero_area, path)
        self._same("cube", self.cube, settings.cube, path)

    def refuse_all(self, rescale: object, path: Path) -> None:
        """Refuse what concerns volumes only, for a model of images.

        Raises:
            InputError: names it.
        """
        for word, value in (*vars(self).items(), ("rescale", rescale)):
            if value is not None:
                raise InputError(f"{word} is for models of volumes, and {path} is one of images. Leave it out.")

    @staticmethod
    def _same(word: str, given: Any, known: Any, path: Path) -> None:
        if given is not None and given != known and [given] != known:
            shown = known[0] if isinstance(known, list) and len(known) == 1 else known
            raise InputError(f"{word} is {given}, {path} says {shown}. Leave {word} out: the configuration decides.")


def _listed(axes: Any) -> list[Any]:
    return list(axes) if isinstance(axes, Iterable) and not isinstance(axes, str) else [axes]

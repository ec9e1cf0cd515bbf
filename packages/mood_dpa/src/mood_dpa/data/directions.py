"""Where the axes of volumes point: axis 0 of one file is another plane than axis 0 of another that is turned."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mood_dpa.data.volumes import codes_of, read_affine, volume_name

SHOWN = 3  # names in a line


class Directions:
    """A count of volumes by the directions of their axes, and the line that says what differs.

    Args:
        trained: directions of the training's volumes, such as `RAS`; empty where they are not told.
    """

    def __init__(self, trained: Sequence[str] = ()) -> None:
        self.trained = tuple(trained)
        self._names: dict[str, list[str]] = {}

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Directions":
        """Those of files, by their headers alone."""
        found = cls()
        for path in paths:
            found.add(volume_name(path), read_affine(path))
        return found

    def add(self, name: str, affine: npt.NDArray[np.float64]) -> None:
        """Count a volume."""
        self._names.setdefault(codes_of(affine), []).append(name)

    @property
    def codes(self) -> list[str]:
        """All that were met, sorted."""
        return sorted(self._names)

    def say(self) -> None:
        """One line on standard error where volumes differ from each other, or from the training's."""
        line = self.line()
        if line:
            print(f"warning: {line}", file=sys.stderr, flush=True)

    def line(self) -> str:
        """That line; empty when nothing differs."""
        shown = ", ".join(f"{code} ({_some(names)})" for code, names in sorted(self._names.items()))
        if self.trained and any(code not in self.trained for code in self._names):
            return (
                f"axes point to {shown}; those of the training to {' and '.join(self.trained)}. Slices of other planes "
                "than those that the models know mean nothing; turn the volumes."
            )
        if len(self._names) > 1:
            return (
                f"the volumes differ in the directions of their axes: {shown}. Slices along an axis are other planes "
                "in each; turn the volumes to one direction."
            )
        return ""


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

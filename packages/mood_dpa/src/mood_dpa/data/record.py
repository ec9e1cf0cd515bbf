"""What a set of slices was made from: how intensities were rescaled, and where the volumes' axes point.

`save_2D` leaves it beside the slices, a training takes it into its checkpoints (`KEY`), and what scores reads it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mood_dpa.data.intensities import Rule
from mood_dpa.standalone import InputError

KEY = "volumes"  # of the record in a checkpoint
NAME = ".volumes.json"  # in a folder of slices


@dataclass(frozen=True)
class Origin:
    """A record.

    Attributes:
        rescale: the rule in words; None where it is not told.
        axes: directions of the volumes' axes, such as `RAS`; several where the volumes differ.
        slicing: the axis that the slices were cut along; None where it is not told, or there are several.
    """

    rescale: str | None = None
    axes: tuple[str, ...] = ()
    slicing: int | None = None

    def stored(self) -> dict[str, Any]:
        """Plain values for a file."""
        return {"rescale": self.rescale, "axes": list(self.axes), "slicing": self.slicing}

    @classmethod
    def of(cls, content: object, where: object) -> "Origin":
        """Of plain values; of None the empty record, as of files of earlier versions.

        Raises:
            InputError: other values; `where` names their file.
        """
        if content is None:
            return cls()
        rule = content.get("rescale") if isinstance(content, Mapping) else 0
        axes = content.get("axes") if isinstance(content, Mapping) else 0
        slicing = content.get("slicing") if isinstance(content, Mapping) else 0
        odd = slicing not in (None, 0, 1, 2) or isinstance(slicing, bool)
        if not (rule is None or isinstance(rule, str)) or not isinstance(axes, list) or not _words(axes) or odd:
            raise InputError(f"{where}: `{KEY}` is no record of rescale and axes; make the file again.")
        if rule is not None:
            Rule.of(rule, f"{where}: the rule")
        return cls(rule, tuple(axes), slicing)


def origin_of(state: Mapping[str, Any], where: object) -> Origin:
    """The record in a checkpoint."""
    return Origin.of(state.get(KEY), where)


def read_origin(folder: Path) -> Origin:
    """The record of a folder of slices; empty where there is none.

    Raises:
        InputError: it is damaged.
    """
    from ood_shared.files import read_json

    path = folder / NAME
    return Origin.of(read_json(path) if path.exists() else None, path)


def write_origin(folder: Path, origin: Origin) -> None:
    """Leave the record beside slices."""
    from ood_shared.files import write_json

    write_json(folder / NAME, origin.stored())


def refuse_mixing(folder: Path, rule: Rule) -> Origin:
    """The record of a folder that more slices are to go to.

    Raises:
        InputError: those that are there were made by another rule.
    """
    before = read_origin(folder) if folder.is_dir() else Origin()
    if before.rescale is not None and before.rescale != str(rule):
        raise InputError(
            f"{folder} holds slices whose intensities were rescaled by `{before.rescale}`, these would be by `{rule}`. "
            "Choose another folder, or delete that one."
        )
    return before


def joined(origins: Sequence[Origin]) -> Origin:
    """The record of several sets together.

    Raises:
        InputError: their rules differ.
    """
    told = sorted({origin.rescale for origin in origins if origin.rescale is not None})
    if len(told) > 1:
        raise InputError(
            f"The data sets were rescaled differently: {' and '.join(f'`{word}`' for word in told)}. Make them by one "
            "rule."
        )
    codes = tuple(sorted({code for origin in origins for code in origin.axes}))
    slicing = {origin.slicing for origin in origins}
    return Origin(told[0] if told else None, codes, slicing.pop() if len(slicing) == 1 else None)


def _words(values: list[Any]) -> bool:
    return all(isinstance(value, str) and len(value) <= 8 for value in values)

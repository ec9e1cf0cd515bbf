"""The OOD sets of a detection run, in the order of scoring, and their images.

    ID set                       OOD sets without --out_test_dataset
    one of the eight             the eight; the ID set itself stands for its novel classes
    another public set           its novel classes, then the eight
    digits, own data             its novel classes, then the embedded sets

Of a set with a split of its own (`sets.RULES`, a split file, the authors' files) the known classes of the validation
part are scored, as in the original, or all its classes; of any other set its test split.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from ood_shared.datasets import EMBEDDED_OOD
from ood_shared.datasets.medical import parse_name
from ood_shared.errors import InputError, MissingFileError, MissingSplitError
from ood_shared.files import path_of
from torch import Tensor

from know_your_space.data.options import DataOptions
from know_your_space.data.parts import Part, load_parts
from know_your_space.data.paths import set_name
from know_your_space.data.sets import EIGHT, Rule, rule_of
from know_your_space.data.source import Source, locate


@dataclass(frozen=True)
class OodSet:
    """One set to score.

    Attributes:
        word: name or path.
        novel: whether it is the novel classes of the ID set.
    """

    word: str
    novel: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder of its scores."""
        return set_name(self.word)

    @property
    def name(self) -> str:
        """Name in `result.json`."""
        return f"{self.folder}-novel" if self.novel else self.folder


def planned(id_word: str, given: str | None = None) -> list[OodSet]:
    """The sets to score.

    Args:
        id_word: name or path of the ID set.
        given: value of --out_test_dataset; None for the default of the ID set.

    Raises:
        InputError: no set, one named twice, or two of one short name.
    """
    if given is not None:
        words = [given] if Path(given).exists() else [word.strip() for word in given.split(",") if word.strip()]
        if not words:
            raise InputError("--out_test_dataset is empty. Pass names or paths with commas between them.")
    elif set_name(id_word) in EIGHT and _is_name(id_word):
        words = list(EIGHT)
    elif _is_name(id_word) and parse_name(set_name(id_word)) is not None:
        words = [id_word, *EIGHT]
    else:
        words = [id_word, *EMBEDDED_OOD]
    sets = [OodSet(id_word, True) if _same(word, id_word) else OodSet(word) for word in words]
    folders = [ood.folder for ood in sets]
    for ood in sets:
        if folders.count(ood.folder) > 1 or (not ood.novel and ood.folder == set_name(id_word)):
            raise InputError(
                f"--out_test_dataset: `{ood.word}` would be written to the folder {ood.folder}, as another set would. "
                "Name each set once, or rename one of the files."
            )
    return sets


def check(wanted: list[OodSet], options: DataOptions) -> tuple[dict[OodSet, Source], dict[OodSet, str]]:
    """Where the sets are, and of those that are absent why. Nothing more is downloaded once a download has failed.

    Raises:
        InputError: a name that is not known.
    """
    found: dict[OodSet, Source] = {}
    absent: dict[OodSet, str] = {}
    for ood in wanted:
        try:
            found[ood] = locate(ood.word, options)
        except MissingFileError as error:
            absent[ood] = str(error)
            options = replace(options, download=False)
    return found, absent


def ood_images(
    ood: OodSet, source: Source, options: DataOptions, native: tuple[int, int], everything: bool = False
) -> UInt8[Tensor, "n 3 h w"]:
    """The images of a set that is not the ID set.

    Args:
        ood: the set.
        source: where it is.
        options: how it is split.
        native: size of the ID images in their source.
        everything: all classes of a set with a split, not only the known ones.
    """
    split = source.kind == "layout" or rule_of(ood.word, options, as_id=False) != Rule()
    wanted: tuple[str, ...] = ("val", "novel") if split and everything else ("val",) if split else ("test",)

    def load(parts: tuple[str, ...]) -> dict[str, Part]:
        return load_parts(ood.word, parts, options, as_id=False, native=native, source=source)

    try:
        found = load(wanted)
    except MissingSplitError:
        if wanted != ("test",):
            raise
        found = load(("val",))
    return torch.cat([part.images for part in found.values()])


def _is_name(word: str) -> bool:
    return set_name(word) == word.lower()


def _same(word: str, id_word: str) -> bool:
    """Whether two words mean one set: the same name, or paths to the same place."""
    if _is_name(word) and _is_name(id_word):
        return word.lower() == id_word.lower()
    return path_of(word).resolve() == path_of(id_word).resolve()

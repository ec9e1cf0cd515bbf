"""The parts of a set that the commands read: train, val, test and novel, as uint8 images with class codes.

A set is looked for in this order, in each folder of `DataOptions.roots`:

    <root>/<name>/<name>_combined.pkl and CSV files     the authors' layout; the CSV files define the split
    <root>/<name>/<name>.npz, <root>/medmnist/<name>.npz, <root>/<name>.npz     MedMNIST
    embedded sets, other known names, and the path of own data (ood_shared.datasets)

An absent MedMNIST set is downloaded with its hash checked. Known classes are those of the training part: a label that
it does not have is refused, where the original would shift the codes of the file.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64, UInt8
from ood_shared.errors import InputError
from torch import Tensor

from know_your_space.data import layout
from know_your_space.data import source as datasource
from know_your_space.data.classes import recode
from know_your_space.data.options import DataOptions
from know_your_space.data.paths import set_name
from know_your_space.data.pixels import at_stored_size
from know_your_space.data.sets import Classes, Rule, read_split_file, resolve, rule_of
from know_your_space.data.source import Source, locate
from know_your_space.transforms import as_rgb

PARTS = ("train", "val", "test", "novel")


@dataclass(frozen=True, eq=False)
class Part:
    """Images of one part of a set.

    Attributes:
        images: uint8 (n, 3, height, width), on the CPU.
        labels: int64 (n,), codes 0..K-1: positions in `classes`.
        classes: the class ids of the source, sorted; for `novel` those of the novel classes.
        names: their names.
        name: short name of the set.
        part: train, val, test or novel.
        source: where the images come from and who says how they are split, one line.
        native: height and width in the source.
        reversed: whether red and blue are swapped, which the original does not do to outliers.
    """

    images: UInt8[Tensor, "n 3 height width"] = field(repr=False)
    labels: Int64[Tensor, " n"] = field(repr=False)
    classes: tuple[int, ...]
    names: tuple[str, ...]
    name: str
    part: str
    source: str
    native: tuple[int, int]
    reversed: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.classes)

    def crc32(self) -> int:
        """A fingerprint of images and labels, to notice that a resumed run sees other data."""
        return zlib.crc32(self.labels.numpy().tobytes(), zlib.crc32(self.images.numpy().tobytes()))


def load_part(word: str, part: str, options: DataOptions | None = None, *, as_id: bool = True) -> Part:
    """One part of a set; see `load_parts`."""
    return load_parts(word, (part,), options, as_id=as_id)[part]


def load_parts(
    word: str,
    parts: Sequence[str],
    options: DataOptions | None = None,
    *,
    as_id: bool = True,
    native: tuple[int, int] | None = None,
    source: Source | None = None,
) -> dict[str, Part]:
    """Parts of a set, each file of it read once. A novel part that has no images is left out.

    Args:
        word: name or path.
        parts: of `PARTS`. `novel` are the novel classes of all splits; without a val split, val is the test split.
        options: where sets lie and how they are split.
        as_id: whether the set is the in-distribution one: --novel_classes is about that one only.
        native: size of the ID images in their source; larger images are reduced to it before anything else, so that an
            OOD set cannot be told by its sharpness.
        source: what `locate` found, when it was asked before.

    Raises:
        MissingFileError: the set, or a file of it, is not there and cannot be downloaded.
        InputError: an unknown set, a split that cannot be made, or files that cannot be used.
    """
    options = options or DataOptions()
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"part `{part}`; expected one of {PARTS}")
    source = source or locate(word, options)
    if source.kind == "layout":
        rule = _rule_of_layout(source, options, as_id)
        raw = _layout_parts(source, parts)
    else:
        rule = rule_of(word, options, as_id)
        raw = _split_parts(source, parts, rule, word, as_id)
    return {
        part: _part(found, set_name(word), f"{source.words}, {found.where}; {rule.origin}", rule.colour, native)
        for part, found in raw.items()
        if len(found.labels)
    }


@dataclass(frozen=True)
class _Raw:
    """Stored images of a part before colours and sizes are brought to one form."""

    part: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]  # class ids
    classes: tuple[int, ...]
    names: tuple[str, ...]
    where: str


def _part(raw: _Raw, name: str, source: str, colour: str, native: tuple[int, int] | None) -> Part:
    try:
        codes = recode(raw.labels, known=raw.classes)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    reverse = colour == "bgr"
    images = as_rgb(raw.images, reverse=reverse)
    size = (images.shape[2], images.shape[3])
    pixels = at_stored_size(images, native, grey=colour == "grey")
    return Part(pixels, torch.from_numpy(codes), raw.classes, raw.names, name, raw.part, source, size, reverse)


def _rule_of_layout(source: Source, options: DataOptions, as_id: bool) -> Rule:
    """Only the handling of colours: the CSV files are the split."""
    given = options.split_file is not None and set_name(source.word) in read_split_file(Path(options.split_file))
    if given or (as_id and options.novel_classes is not None):
        flag = "--split_file" if given else "--novel_classes"
        raise InputError(f"{flag}: the CSV files in {source.path} are the split of {source.word}. Leave it out.")
    rule = rule_of(source.word, replace(options, split_file=None), as_id=False)
    return Rule(colour=rule.colour, origin="split of the CSV files")


def _layout_parts(source: Source, parts: Sequence[str]) -> dict[str, _Raw]:
    folder = source.path
    assert folder is not None
    if "test" in parts:
        raise InputError(f"{folder} is in the authors' layout, which has no test part; use the validation part.")
    images = layout.read_images(folder)
    known = tuple(np.unique(layout.read_rows(folder, "train").labels).tolist())
    raw_parts = {}
    for part in parts:
        if part == "novel" and not layout.has_rows(folder, part):
            continue
        rows = layout.read_rows(folder, part, len(images))
        classes = known if part != "novel" else tuple(np.unique(rows.labels).tolist())
        if part == "novel" and set(classes) & set(known):
            both = min(set(classes) & set(known))
            raise InputError(
                f"{layout.csv_path(folder, part)} lists class {both} as novel, the training file as known."
            )
        names = tuple(str(number) for number in classes)
        raw_parts[part] = _Raw(part, images[rows.rows], rows.labels, classes, names, f"{layout.CSV_PARTS[part]}.csv")
    return raw_parts


def _split_parts(source: Source, parts: Sequence[str], rule: Rule, word: str, as_id: bool) -> dict[str, _Raw]:
    sets = datasource.Splits(source)
    for part in parts:
        if part != "novel":
            sets.get(part)
    first = sets.any()
    present = sets.train_ids() if as_id else None
    classes = resolve(rule, first.classes, set_name(word), present)
    return {part: _cut(sets, part, classes, rule.known is not None) for part in parts}


def _cut(sets: "datasource.Splits", part: str, classes: Classes, chosen: bool) -> _Raw:
    """The images of a part. Classes that are neither known nor novel are dropped when a rule has `chosen` the known."""
    wanted = ("train", "val", "test") if part == "novel" else (part,)
    images, labels, splits = [], [], []
    ids = classes.novel if part == "novel" else classes.known
    for split in wanted if ids else ():
        if part == "novel" and not sets.has(split):
            continue
        found, used = sets.get(split)
        keep = np.isin(found.labels, ids) if chosen or part == "novel" else ~np.isin(found.labels, classes.novel)
        images.append(found.images[keep])
        labels.append(found.labels[keep])
        splits.append(used)
    names = sets.any().classes
    where = f"split {' + '.join(splits)}" + (" (it has no val split)" if part == "val" and splits == ["test"] else "")
    if not images:
        nothing = sets.any()
        return _Raw(part, nothing.images[:0], nothing.labels[:0], ids, (), where)
    if part != "novel" and not sum(map(len, labels)):
        raise InputError(f"{sets.source.words} has no images of known classes in its {part} part.")
    same = {array.shape[1:] for array in images}
    if len(same) > 1:
        raise InputError(f"{sets.source.words}: its splits have images of different shapes, {sorted(same)}.")
    return _Raw(part, np.concatenate(images), np.concatenate(labels), ids, tuple(names[i] for i in ids), where)

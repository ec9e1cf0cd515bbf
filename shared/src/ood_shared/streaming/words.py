"""From what a user writes to images that are named and not read yet.

| word | images | their names |
|---|---|---|
| `a.png` | one | `a.png` |
| `scan.dcm`, `t1.nii.gz` | frames, slices of the last axis | `scan.dcm`, `scan.dcm#3`, `t1.nii.gz#17` |
| a folder | of all files below it: images, DICOM, NIfTI, IDX | as of the files |
| `a.tar`, `.tar.gz`, `.tgz`, `.zip` | of its members | `a.tar/cats/1.png` |
| `set.npz` | of its arrays `…_images`, of all splits | `set.npz/test_images#17` |
| `…images-idx3-ubyte`, also `.gz` | all | `…images-idx3-ubyte#17` |
| `list.txt` | an OpenOOD image list; labels do not matter | `folder/of/the/list/cats/1.png` |
| `mnist`, `mnist:train` | a known set, its test split or another one | `mnist:test#17` |
| `-` | of the paths on standard input, a line each | as of the paths |

A known name wins over a file of that name, as it does elsewhere; write `./mnist` for the file. The order is always the
same and the names differ, which is what a run that was stopped goes on by.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from ood_shared.datasets import SPLITS, is_known, load
from ood_shared.datasets.archives import is_archive
from ood_shared.datasets.decode import Encoded, is_image
from ood_shared.datasets.formats import is_unread
from ood_shared.datasets.idx import is_images_file
from ood_shared.datasets.lists import parse_line
from ood_shared.datasets.slices import holds_images, images_in
from ood_shared.errors import InputError, MissingFileError, unknown
from ood_shared.files import path_of, read_text, real_path
from ood_shared.streaming.archives import archive_images
from ood_shared.streaming.arrays import idx_images, npz_images
from ood_shared.streaming.reading import guarded, refused, unread
from ood_shared.streaming.walk import files_below

KINDS = "an image, a folder, a tar or zip, an .npz, a DICOM or NIfTI file, a list .txt, a known name, or - for a list"


def pending_images(words: Sequence[str], data_dir: str | Path | None = None) -> Iterator[Encoded]:
    """All images of the words, in order, to be decoded by `read_items`.

    What turns out to be unreadable on the way is an image that is refused when it is decoded.

    Args:
        words: of the table above.
        data_dir: where known sets are kept.

    Raises:
        MissingFileError: a word names nothing; before the first image is given.
        InputError: a known name with an unknown split.
    """
    sources = [_source(word, data_dir) for word in words]
    return chain.from_iterable(source() for source in sources)


def refuse_repeated(words: Sequence[str]) -> None:
    """Refuse words of which one names images that another names, too: they would count as independent ones.

    Raises:
        InputError: two words are one file or folder, or one is inside the other.
    """
    seen: dict[Path | str, str] = {}
    for word in words:
        named = real_path(Path(word)) if Path(word).exists() and not is_known(word) else word
        if named in seen:
            raise InputError(f"{word} is named twice; its images would count twice. Name each once.")
        seen[named] = word
    for named, word in seen.items():
        above = named.parents if isinstance(named, Path) else ()
        folder = next((seen[path] for path in above if path in seen), None)
        if folder is not None:
            raise InputError(f"{word} lies in {folder}; its images would count twice. Leave it out.")


def _source(word: str, data_dir: str | Path | None) -> partial[Iterator[Encoded]]:
    name, _, split = word.rpartition(":") if ":" in word else (word, "", "test")
    if word == "-":
        return partial(_listed_on_stdin)
    if is_known(name):
        if split not in SPLITS:
            raise unknown("Split", split, SPLITS)
        return partial(_known, name, split, data_dir)
    path = str(path_of(word)) if word.startswith("~") or "\0" in word or not word else word
    if not Path(path).exists():
        raise MissingFileError(f"{word} is missing; expected {KINDS}.")
    return partial(_of_path, path)


def _of_path(path: str) -> Iterator[Encoded]:
    """The images of a file, or of all files below a folder."""
    if not Path(path).is_dir():
        yield from guarded(path, _of_file(path))
        return
    for file, error in files_below(path):
        if error is not None:
            yield refused(file, error)
        elif is_image(file):
            yield Encoded(0, file, Path(file))
        elif is_unread(file):
            yield unread(file)
        elif is_images_file(Path(file).name):
            yield from guarded(file, idx_images(Path(file)))
        else:
            yield from guarded(file, _scan(file))


def _scan(file: str) -> Iterator[Encoded]:
    """The images of a file that may be a scan; none of one that is not."""
    if holds_images(Path(file)):
        yield from images_in(file, Path(file))


def _of_file(path: str) -> Iterator[Encoded]:
    file = Path(path)
    if is_archive(file):
        return archive_images(file)
    if path.lower().endswith(".npz"):
        return npz_images(file)
    if path.lower().endswith(".txt"):
        return _listed(file)
    return idx_images(file) if is_images_file(file.name) else images_in(path, file)


def _listed(path: Path) -> Iterator[Encoded]:
    """The files of an image list, `relative/path label` on each line."""
    for number, line in enumerate(read_text(path, "an image list").split("\n"), start=1):
        found = parse_line(line, f"{path}, line {number}", path.parent)
        if found is not None:
            yield from _of_path(str(path.parent / found[0]))


def _listed_on_stdin() -> Iterator[Encoded]:
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")  # names of files need not be UTF-8
    for line in sys.stdin:
        if (path := line.rstrip("\r\n")).strip():
            yield from _of_path(path)


def _known(name: str, split: str, data_dir: str | Path | None) -> Iterator[Encoded]:
    """A known set, in memory as a whole."""
    for number, pixels in enumerate(load(name, split, data_dir).images):
        yield Encoded(number, f"{name}:{split}#{number}", pixels)

"""Sets of images: OpenOOD's image lists, and the sets of `ood_shared.datasets`.

An image list has one sample a line, `<relative path><space><annotation>`; the annotation is a Python literal, the label
(-1 for OOD) or a mapping, which is merged into the sample and gives label 0.
"""

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ood_shared.datasets import load
from ood_shared.datasets.decode import read_image
from ood_shared.datasets.imageset import told
from ood_shared.errors import InputError, MissingFileError, one_line
from ood_shared.files import check_name, read_text
from PIL import Image


@dataclass(frozen=True, eq=False)
class Samples:
    """A set of images that is not decoded yet, or one that lies in memory.

    Attributes:
        name: short name, for tables and messages.
        labels: int64 (n,); -1 for OOD.
        source: the list or data set, for messages.
        files: one path each; empty when `pixels` holds the images.
        pixels: uint8 (n, height, width, channels), or None.
        annotations: what the mappings of an image list said, by position.
    """

    name: str
    labels: npt.NDArray[np.int64]
    source: str
    files: Sequence[Path] = ()
    pixels: npt.NDArray[np.uint8] | None = None
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def open(self, index: int) -> Image.Image:
        """The image in RGB. A file that is cut short is read as far as it goes, as in OpenOOD.

        Raises:
            MissingFileError: the file is not there.
            InputError: it is no image.
        """
        if self.pixels is not None:
            pixels = self.pixels[index]
            return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
        path = self.files[index]
        place = f"{self.source} lists it (image {index + 1})"
        try:
            return read_image(path, cut_short=True)
        except MissingFileError:
            raise MissingFileError(f"{path} is missing; {place}.") from None
        except InputError as error:
            raise InputError(f"{error} {place}.") from error

    def fingerprint(self) -> str:
        """Changes with the images' pixels, their order and their labels; for files with each one's name, size and time.

        To read the files would take as long as to score them. So a file that is replaced by one of the same size and
        time of change is not noticed.
        """
        digest = hashlib.sha256(self.labels.tobytes())
        if self.pixels is not None:
            digest.update(np.ascontiguousarray(self.pixels).tobytes())
        for path in self.files:
            try:
                status = path.stat()
            except OSError:  # told when it is opened
                digest.update(f"{path}\n".encode())
                continue
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def select(self, index: npt.NDArray[np.int64]) -> "Samples":
        """The samples at these positions, in this order."""
        files = [self.files[i] for i in index] if self.files else ()
        pixels = None if self.pixels is None else self.pixels[index]
        return Samples(self.name, self.labels[index], self.source, files, pixels)

    def as_outliers(self) -> "Samples":
        """The same with label -1, whatever the list says."""
        return Samples(self.name, np.full(len(self), -1, dtype=np.int64), self.source, self.files, self.pixels)


def read_imglist(name: str, imglist: Path, data_dirs: Sequence[Path | str], classes: int | None = None) -> Samples:
    """The samples of an image list.

    Args:
        name: of the set.
        imglist: the text file.
        data_dirs: where the relative paths may start; the first one that holds the first image counts. An empty text
            allows absolute paths.
        classes: labels must be from 0 to below it; None allows any, -1 for OOD images among them.

    Raises:
        MissingFileError: the list is not there.
        InputError: a line without annotation, an absolute path, or a label out of range; with the line's number.
    """
    if not imglist.exists():
        raise MissingFileError(
            f"Image list {imglist} of `{name}` is missing. Put the lists below data/benchmark_imglist "
            "(`ascood download` says where they come from), or make one from a folder of images with "
            "`ascood build_imglist`."
        )
    lines = read_text(imglist, "an image list").split("\n")
    relative: list[str] = []
    labels: list[int] = []
    annotations = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, _, annotation = line.strip().partition(" ")
        if not annotation:
            raise InputError(
                f"{imglist}, line {number}: `{one_line(line, 80)}` has no label; expected `relative/path label`."
            )
        if path.startswith("/") and any(str(folder) for folder in data_dirs):
            raise InputError(
                f"{imglist}, line {number}: `{one_line(path, 120)}` is absolute; expected a path below {data_dirs[0]}."
            )
        check_name(path, f"{imglist}, line {number}")
        label, extra = _annotation(annotation, f"{imglist}, line {number}")
        if classes is not None and not 0 <= label < classes:
            raise InputError(
                f"{imglist}, line {number}: class {label}; expected 0 to {classes - 1} in the list of an ID set."
            )
        if extra:
            annotations[len(labels)] = extra
        relative.append(path)
        labels.append(label)
    if not labels:
        raise InputError(f"{imglist} lists no images; expected `relative/path label` on each line.")
    start = _start(relative[0], [Path(folder) for folder in data_dirs])
    return Samples(
        name, np.array(labels, dtype=np.int64), str(imglist), [start / path for path in relative], None, annotations
    )


def load_shared(name: str, source: str, split: str, size: int, data_dir: str | None = None) -> Samples:
    """A set of `ood_shared.datasets` by its name or path, as RGB images of one size."""
    images = told(load(source, split, data_dir, size=size, channels=3))
    return Samples(name, images.labels, source, (), images.images)


def _annotation(text: str, where: str) -> tuple[int, dict[str, Any]]:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if isinstance(value, dict):
        return 0, value
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 2**31:
        raise InputError(
            f"{where}: `{one_line(text, 80)}` is not a label; expected a whole number from -1 on, or a mapping."
        )
    return value, {}


def _start(first: str, folders: list[Path]) -> Path:
    return next((folder for folder in folders if (folder / first).is_file()), folders[0])

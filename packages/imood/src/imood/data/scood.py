"""The SCOOD test sets: lists of images that say which are truly OOD and which show an ID class.

Source: Yang et al., Semantically Coherent Out-of-Distribution Detection, ICCV 2021.
"""

import ast
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Int64
from ood_shared.errors import InputError, MissingFileError, one_line
from ood_shared.files import check_name, read_text
from ood_shared.notes import say
from torch import Tensor

from imood.data.cifar import OTHER

SOURCE = "https://drive.google.com/file/d/1cbLXZ39xnJjxXnDM7g2KODHIjE0Qj4gu/view?usp=sharing"


def set_names(id_name: str) -> tuple[str, ...]:
    """The six sets in the order in which they are evaluated; the third is the other CIFAR."""
    return ("texture", "svhn", OTHER[id_name], "tin", "lsun", "places365")


def list_file(root: Path, id_name: str, name: str) -> Path:
    """Where the list of a set lies."""
    listed = "cifar" if name.startswith("cifar") else name
    folder = root / "SCOOD" / "data" / "imglist" / f"benchmark_{id_name}"
    plain = folder / f"test_{name}.txt"
    return plain if plain.is_file() or listed == name else _first_file(plain, folder / f"test_{listed}.txt")


def read_list(root: Path, id_name: str, name: str) -> tuple[list[Path], Int64[Tensor, " n"]]:
    """Files and semantic labels of a set: -1 where an image is truly OOD, else the ID class that it shows.

    Raises:
        MissingFileError: the list is not there; the message says where to get it.
        InputError: a line that is not `path {…, 'sc_label': number, …}`, a path that leads out of the folder, or an
            image with two labels.
    """
    path = list_file(root, id_name, name)
    if not path.is_file():
        raise MissingFileError(
            f"{path} is missing. Get the SCOOD test data from {SOURCE} and unpack it as {root / 'SCOOD' / 'data'}, or "
            "name own outlier sets with --ood_test name=PATH."
        )
    images, paths, labels = root / "SCOOD" / "data" / "images", [], []
    seen: dict[PurePosixPath, int] = {}
    for number, line in enumerate(read_text(path, "an image list").split("\n"), start=1):
        if not line.strip():
            continue
        relative, _, rest = line.strip().partition(" ")
        try:
            label = ast.literal_eval(rest)["sc_label"]
        except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
            label = None
        if not isinstance(label, int) or isinstance(label, bool) or not -(2**31) <= label < 2**31:
            raise InputError(
                f"{path}, line {number}: `{one_line(line, 80)}`; expected a path and a dictionary with an integer "
                "`sc_label`."
            )
        check_name(relative, f"{path}, line {number}")
        inner = PurePosixPath(relative)
        if inner.is_absolute() or ".." in inner.parts:
            raise InputError(f"{path}, line {number}: `{one_line(relative, 120)}` leads out of {images}.")
        if seen.setdefault(inner, label) != label:
            raise InputError(
                f"{path}, line {number}: `{one_line(relative, 120)}` has sc_label {label}, before {seen[inner]}. "
                "Correct the list."
            )
        paths.append(images / inner)
        labels.append(label)
    if not paths:
        raise InputError(f"{path} lists no images.")
    if len(seen) < len(paths):
        say([f"{path}: {len(paths) - len(seen)} lines repeat an image, which counts as often"])
    return paths, torch.tensor(labels)


def _first_file(*paths: Path) -> Path:
    return next((path for path in paths if path.is_file()), paths[0])

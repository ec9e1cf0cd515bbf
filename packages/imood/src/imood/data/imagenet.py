"""ImageNet-LT from its list files, and the synset lists of the outlier folders.

Labels follow the alphabetical order of the synsets. Source of the lists: Liu et al., Large-Scale Long-Tailed
Recognition in an Open World, CVPR 2019.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Int64
from ood_shared.errors import InputError, MissingFileError, one_line
from ood_shared.files import check_name, read_text
from torch import Tensor

from imood.data.images import class_folders, image_files
from imood.modes import IMAGENET_CLASSES

TRAIN, VAL = "ImageNet_LT_train.txt", "ImageNet_LT_val.txt"
LISTS = Path("datasets") / "ImageNet_LT"  # below the current folder, where the published code reads them
_ORIGIN = (
    "It is a list of ImageNet-LT by Liu et al. (CVPR 2019), in the repository of OLTR "
    "(github.com/zhmiao/OpenLongTailRecognition-OLTR, data/ImageNet_LT); the original program lists a file of this "
    "name under datasets/ImageNet_LT, too"
)


def package_lists() -> Path:
    """The folder `datasets/ImageNet_LT` that is shipped: in the package when installed, beside `src` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next((at / LISTS for at in (package, package.parents[1]) if (at / LISTS).is_dir()), LISTS)


def find_list(root: Path, name: str) -> Path:
    """A list file: in `<root>/imagenet`, else in `datasets/ImageNet_LT` of the current folder or of the package.

    Raises:
        MissingFileError: it is in none of them; the message says where it comes from.
    """
    places = [root / "imagenet", LISTS, package_lists()]
    for folder in places:
        if (folder / name).is_file():
            return folder / name
    raise MissingFileError(f"{name} is missing. {_ORIGIN}. It is not shipped here. Put it into {places[0]} or {LISTS}.")


def read_list(root: Path, name: str, n_classes: int = IMAGENET_CLASSES) -> tuple[list[Path], Int64[Tensor, " n"]]:
    """Files and labels of a list, only those with a label below `n_classes`.

    Raises:
        MissingFileError: the list is not there.
        InputError: a line that is not `path label`, a file or a folder with two labels, or no line with such a label.
    """
    path = find_list(root, name)
    paths, labels = [], []
    seen: set[PurePosixPath] = set()
    of_folder: dict[PurePosixPath, int] = {}
    for number, line in enumerate(read_text(path, "an image list").split("\n"), start=1):
        if not line.strip():
            continue
        relative, _, word = line.strip().rpartition(" ")
        inner = PurePosixPath(relative)
        if not word.isdecimal() or len(word) > 9 or not relative or inner.is_absolute() or ".." in inner.parts:
            raise InputError(f"{path}, line {number}: {ascii(line)[:80]}; expected `train/<wnid>/<file> label`.")
        check_name(relative, f"{path}, line {number}")
        label = of_folder.setdefault(inner.parent, int(word))
        if inner in seen or label != int(word):
            twice = "it is listed twice" if inner in seen else f"{inner.parent} has the label {label}, too"
            raise InputError(f"{path}, line {number}: `{one_line(line, 80)}`: {twice}. Correct the list.")
        seen.add(inner)
        if int(word) < n_classes:
            paths.append(root / "imagenet" / inner)
            labels.append(int(word))
    if not paths:
        raise InputError(f"{path} lists no image with a label below {n_classes} (--id_class_number).")
    return paths, torch.tensor(labels)


def synsets_of(paths: list[Path], labels: Int64[Tensor, " n"]) -> dict[int, str]:
    """The synset of each label of a list, by the folders of its files."""
    return {label: path.parent.name for path, label in zip(paths, labels.tolist(), strict=True)}


def validation_folder(
    root: Path, n_classes: int = IMAGENET_CLASSES, synsets: Mapping[int, str] | None = None
) -> tuple[list[Path], Int64[Tensor, " n"]]:
    """Files and labels of `imagenet/val/<wnid>/`, the first `n_classes` classes.

    Args:
        root: folder of the data.
        n_classes: how many of them, in the order of their names.
        synsets: of the labels that were trained with; None does not compare them.

    Raises:
        MissingFileError: there is no such folder.
        InputError: a label means another synset there.
    """
    folder = root / "imagenet" / "val"
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder} is missing. Get the ILSVRC2012 validation images from image-net.org and sort them into one "
            "folder for each synset there."
        )
    paths, labels, names = class_folders(folder)
    for label, synset in sorted((synsets or {}).items()):
        found = names[label] if label < len(names) else "nothing"
        if found != synset:
            raise InputError(
                f"{folder}: class {label} in the order of the names is {found}; the training list has {synset} there. "
                "Give the folder every synset of the list, and no other."
            )
    kept = [position for position, label in enumerate(labels.tolist()) if label < n_classes]
    return [paths[position] for position in kept], labels[kept]


def outlier_folder(root: Path, name: str) -> list[Path]:
    """Files of `imagenet/extra_1k` or `imagenet/ood_test_1k`.

    Raises:
        MissingFileError: there is no such folder; the message names the script that makes it.
    """
    folder = root / "imagenet" / name
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder} is missing. Make it with {package_lists() / 'get_imagenet10k.sh'} from the ImageNet-10K archive "
            "(image-net.org/data/imagenet10k_eccv2010.tar, about 700 GB)."
        )
    return image_files(folder)

"""The benchmarks of the original.

| `--ds` | training | validation | test | outlier test sets | auxiliary outliers |
|---|---|---|---|---|---|
| cifar10, cifar100 | long-tailed part | test set | test set | six SCOOD sets | TinyImages-300K |
| imagenet | ImageNet-LT list | ImageNet-LT list | `imagenet/val` | `ood_test_1k` | `extra_1k` |
| waterbird | `waterbird_LT/train` | `…/val` | `…/test` | `…/spuriuos_ood` | `texture` |

`--ood_aux` and `--ood_test` put other outliers in place of these.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import reading
from torch import Tensor

from imood import longtail, modes
from imood.data import cifar, imagenet, scood
from imood.data.images import Images, Resident, Streamed, class_folders, image_files, read_all
from imood.data.inputs import Inputs
from imood.data.tasks import OutlierSet, Source, Task, aux_images, named_outliers
from imood.data.views import LARGE, LARGE_FILES, SMALL

WATERBIRD_COUNTS = [363, 3699]  # of the published code, whatever the folder held
TINY_IMAGES = "300K_random_images.npy"
TINY_SOURCE = "https://people.eecs.berkeley.edu/~hendrycks/300K_random_images.npy"


def cifar_task(source: Source, training: bool) -> Task:
    """CIFAR-10 or CIFAR-100, made long-tailed."""
    name = source.dataset
    images, labels = cifar.read_cifar(name, "train", source.root)
    n_classes, ratio = cifar.N_CLASSES[name], 0.01 if source.ratio is None else source.ratio
    wanted = longtail.class_sizes(len(labels), n_classes, ratio)
    chosen = longtail.select(labels.numpy(), wanted)
    kept = labels[chosen]

    def test() -> Images:
        return Resident(*cifar.read_cifar(name, "test", source.root), source.device)

    def outliers(listed: str) -> OutlierSet:
        def load() -> Images:
            paths, semantic = scood.read_list(source.root, name, listed)
            return Resident(read_all(paths, cifar.SIDE, source.workers), semantic, source.device)

        return OutlierSet(listed, load)

    sets = named_outliers(source, SMALL) or [outliers(listed) for listed in scood.set_names(name)]
    return Task(
        name=name,
        counts=torch.bincount(kept, minlength=n_classes).tolist(),
        layout="own" if source.ood_test else "scood",
        views=SMALL,
        inputs=Inputs(SMALL, "squeeze", classes=cifar.CLASSES.get(name, ())),
        train=lambda: Resident(images[chosen], kept, source.device),
        val=test,
        test=test,
        aux=aux_images(source, SMALL, lambda: _cifar_aux(source)) if training else None,
        outliers=[] if training else sets,
    )


def _cifar_aux(source: Source) -> Images:
    if source.aux_kind == "CIFAR":
        folder = source.root / "SCOOD" / "data" / "images" / cifar.OTHER[source.dataset] / "test"
        files = image_files(folder)
        return Resident(read_all(files, cifar.SIDE, source.workers), torch.full((len(files),), -1), source.device)
    if source.aux_kind == "Texture":
        warnings.warn("--ood_aux_dataset Texture has no effect with CIFAR: TinyImages are used.", stacklevel=2)
    return Resident(*read_tiny_images(source.root, source.num_ood_samples), source.device)


def read_tiny_images(root: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` of the 300,000 random images and labels of -1; only those are read from the disk.

    Raises:
        MissingFileError: the file is neither below `tinyimages80m` nor below `tinyimages80M`.
        InputError: it is damaged or of another form, or no image is asked for.
    """
    if count < 1:
        raise InputError(f"--num_ood_samples is {count}; expected at least 1.")
    paths = [root / folder / TINY_IMAGES for folder in ("tinyimages80m", "tinyimages80M")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise MissingFileError(
            f"{paths[0]} is missing. Get it from {TINY_SOURCE}, or name own auxiliary outliers with --ood_aux PATH."
        )
    with reading(path, "npy file", "Fetch it again."):
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[1:] != (32, 32, 3):
        raise InputError(f"{path} is {stored.dtype} {stored.shape}; expected uint8 (n, 32, 32, 3).")
    pixels = torch.from_numpy(np.array(stored[:count])).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.full((len(pixels),), -1)


def imagenet_task(source: Source, training: bool) -> Task:
    """ImageNet-LT, or its first classes."""
    classes = source.id_class_number
    if not 2 <= classes <= modes.IMAGENET_CLASSES:
        raise InputError(f"--id_class_number is {classes}; expected 2 to {modes.IMAGENET_CLASSES}.")
    paths, labels = imagenet.read_list(source.root, imagenet.TRAIN, classes)

    def streamed(listed: tuple[list[Path], Tensor]) -> Images:
        return Streamed(*listed, source.device, source.workers)

    def outliers(folder: str) -> Images:
        files = imagenet.outlier_folder(source.root, folder)
        return streamed((files, torch.full((len(files),), -1)))

    if source.aux_kind == "CIFAR" and training:
        raise InputError("--ood_aux_dataset CIFAR goes with cifar10 and cifar100; for imagenet pass TinyImages.")
    if source.aux_kind == "Texture" and training:
        warnings.warn("--ood_aux_dataset Texture has no effect with ImageNet: extra_1k is used.", stacklevel=2)
    sets = named_outliers(source, LARGE)
    return Task(
        name=f"imagenet{classes}",
        counts=torch.bincount(labels, minlength=classes).tolist(),
        layout="own" if sets else "single",
        views=LARGE_FILES,
        inputs=Inputs(LARGE, "centre"),
        train=lambda: streamed((paths, labels)),
        val=lambda: streamed(imagenet.read_list(source.root, imagenet.VAL, classes)),
        test=lambda: streamed(imagenet.validation_folder(source.root, classes, imagenet.synsets_of(paths, labels))),
        aux=aux_images(source, LARGE_FILES, lambda: outliers("extra_1k")) if training else None,
        outliers=[] if training else sets or [OutlierSet("imagenet10k", lambda: outliers("ood_test_1k"))],
    )


def waterbird_task(source: Source, training: bool) -> Task:
    """Two classes whose backgrounds mislead."""
    base = source.root / "waterbird_LT"
    paths, labels, classes = class_folders(base / "train")
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    if counts != WATERBIRD_COUNTS:
        warnings.warn(f"{base / 'train'} has {counts} images; the published set has {WATERBIRD_COUNTS}.", stacklevel=2)

    def split(name: str) -> Images:
        files, numbers, names = class_folders(base / name)
        if names != classes:
            raise InputError(f"{base / name} has the classes {names}, train has {classes}; both need the same.")
        return Streamed(files, numbers, source.device, source.workers)

    def flat(folder: Path) -> Images:
        files = image_files(folder)
        return Streamed(files, torch.full((len(files),), -1), source.device, source.workers)

    if source.aux_kind == "CIFAR" and training:
        raise InputError("--ood_aux_dataset CIFAR goes with cifar10 and cifar100; for waterbird pass Texture.")
    sets = named_outliers(source, LARGE)
    return Task(
        name="waterbird",
        counts=counts,
        layout="own" if sets else "single",
        views=LARGE_FILES,
        inputs=Inputs(LARGE, "centre", classes=classes),
        train=lambda: Streamed(paths, labels, source.device, source.workers),
        val=lambda: split("val"),
        test=lambda: split("test"),
        aux=aux_images(source, LARGE_FILES, lambda: flat(source.root / "texture")) if training else None,
        outliers=[] if training else sets or [OutlierSet("spurious_ood", lambda: flat(base / "spuriuos_ood"))],
    )

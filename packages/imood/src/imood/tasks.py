"""What a run works on: training, validation and test images, auxiliary outliers, outlier test sets, class counts.

| `--ds` | training | validation | test | outlier test sets | auxiliary outliers |
|---|---|---|---|---|---|
| cifar10, cifar100 | long-tailed part | test set | test set | six SCOOD sets | TinyImages-300K |
| imagenet | ImageNet-LT list | ImageNet-LT list | `imagenet/val` | `ood_test_1k` | `extra_1k` |
| waterbird | `waterbird_LT/train` | `…/val` | `…/test` | `…/spuriuos_ood` | `texture` |
| a name or a path | long-tailed part, or as it is | `val`, else `test` | `test` | `--ood_test` | `--ood_aux` |
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from ood_shared.errors import InputError, MissingFileError
from torch import Tensor

from imood import cifar, imagenet, longtail, scood
from imood.images import Images, Resident, Streamed, class_folders, image_files, read_all
from imood.own import PREFIXES, Own, default_aux, default_tests, is_own, read_outliers
from imood.views import LARGE, LARGE_FILES, SMALL, Views

NAMED = ("cifar10", "cifar100", "imagenet", "waterbird")
AUX_KINDS = ("TinyImages", "VOS", "NPOS", "CIFAR", "Texture")
SYNTHETIC = ("VOS", "NPOS")  # outliers are made of features, there are no images
WATERBIRD_COUNTS = [363, 3699]  # of the published code, whatever the folder held
TINY_IMAGES = "300K_random_images.npy"
TINY_SOURCE = "https://people.eecs.berkeley.edu/~hendrycks/300K_random_images.npy"


@dataclass(frozen=True)
class Place:
    """Where data lie and how they are read.

    Attributes:
        dataset: `--ds`.
        root: `$DATA`.
        ratio: `--imbalance_ratio`; None leaves own data as they are.
        model: network, which decides the size of own images.
        device: where resident images go.
        workers: threads or processes that read files.
        id_class_number: classes of ImageNet.
        num_ood_samples: TinyImages that are used.
        aux_kind: `--ood_aux_dataset`.
        aux: `--ood_aux`, a name or path that replaces it.
        ood_test: `--ood_test`, names and paths that replace the outlier test sets.
    """

    dataset: str
    root: Path
    ratio: float | None
    model: str
    device: torch.device
    workers: int = 0
    id_class_number: int = 1000
    num_ood_samples: int = 30000
    aux_kind: str = "TinyImages"
    aux: str | None = None
    ood_test: str | None = None


@dataclass(frozen=True)
class OutlierSet:
    """Outlier test images; a label of -1 is truly OOD, from 0 on the image shows an ID class."""

    name: str
    load: Callable[[], Images]


@dataclass(frozen=True)
class Task:
    """One benchmark. Images are read when they are asked for.

    Attributes:
        counts: training images of each class.
        layout: form of the result files: `scood`, `single` (one set, truncated counts) or `own`.
        views: of training images; `test_views` of the others.
        train: long-tailed training images.
        val: images for the evaluation after each epoch.
        test: ID test images.
        aux: auxiliary outliers; None where they are made of features.
        outliers: outlier test sets.
        notes: facts about the data that a result shall name.
    """

    name: str
    counts: list[int]
    layout: str
    views: Views
    test_views: Views
    train: Callable[[], Images]
    val: Callable[[], Images]
    test: Callable[[], Images]
    aux: Callable[[], Images] | None
    outliers: list[OutlierSet]
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.counts)


def default_dataset(root: Path) -> str:
    """`cifar10` where `$DATA` has it, else the embedded `digits`."""
    return "cifar10" if cifar.present("cifar10", root) else "digits"


def open_task(place: Place, training: bool) -> Task:
    """The benchmark of `--ds`. Labels of the training set are read at once, for the class counts; images later.

    Args:
        place: where data lie.
        training: whether auxiliary outliers are needed, and the outlier test sets are not.

    Raises:
        InputError: unknown name, or data that do not fit.
        MissingFileError: a file is not there; the message says where to get and to put it.
    """
    makers = {"cifar10": _cifar, "cifar100": _cifar, "imagenet": _imagenet, "waterbird": _waterbird}
    if place.dataset in makers:
        task = makers[place.dataset](place, training)
    elif is_own(place.dataset):
        task = _own(place, training)
    else:
        raise InputError(
            f"--dataset `{place.dataset}` is not known. Known: {', '.join(NAMED)}, a data set of ood_shared (digits, "
            f"mnist, …), or own data as {', '.join(f'{word}:PATH' for word in PREFIXES)}."
        )
    _warn_of_empty_classes(task)
    return task


def default_model(dataset: str) -> str:
    """ResNet50 for ImageNet and waterbird, else ResNet18."""
    return "ResNet50" if dataset in ("imagenet", "waterbird") else "ResNet18"


def _cifar(place: Place, training: bool) -> Task:
    name = place.dataset
    images, labels = cifar.read_cifar(name, "train", place.root)
    n_classes, ratio = cifar.N_CLASSES[name], 0.01 if place.ratio is None else place.ratio
    wanted = longtail.class_sizes(len(labels), n_classes, ratio)
    chosen = longtail.select(labels.numpy(), wanted)
    kept = labels[chosen]

    def test() -> Images:
        return Resident(*cifar.read_cifar(name, "test", place.root), place.device)

    def outliers(listed: str) -> OutlierSet:
        def load() -> Images:
            paths, semantic = scood.read_list(place.root, name, listed)
            return Resident(read_all(paths, cifar.SIDE, place.workers), semantic, place.device)

        return OutlierSet(listed, load)

    sets = _named_outliers(place, SMALL) or [outliers(listed) for listed in scood.set_names(name)]
    return Task(
        name=name,
        counts=torch.bincount(kept, minlength=n_classes).tolist(),
        layout="own" if place.ood_test else "scood",
        views=SMALL,
        test_views=SMALL,
        train=lambda: Resident(images[chosen], kept, place.device),
        val=test,
        test=test,
        aux=_aux(place, SMALL, lambda: _cifar_aux(place)) if training else None,
        outliers=[] if training else sets,
    )


def _cifar_aux(place: Place) -> Images:
    if place.aux_kind == "CIFAR":
        folder = place.root / "SCOOD" / "data" / "images" / cifar.OTHER[place.dataset] / "test"
        files = image_files(folder)
        return Resident(read_all(files, cifar.SIDE, place.workers), torch.full((len(files),), -1), place.device)
    if place.aux_kind == "Texture":
        warnings.warn("--ood_aux_dataset Texture has no effect with CIFAR: TinyImages are used.", stacklevel=2)
    return Resident(*read_tiny_images(place.root, place.num_ood_samples), place.device)


def read_tiny_images(root: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` of the 300,000 random images and labels of -1; only those are read from the disk.

    Raises:
        MissingFileError: the file is neither below `tinyimages80m` nor below `tinyimages80M`.
        InputError: it is damaged or of another form, or no image is asked for.
    """
    if count < 1:
        raise InputError(f"--num_ood_samples is {count}; expected at least 1.")
    places = [root / folder / TINY_IMAGES for folder in ("tinyimages80m", "tinyimages80M")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise MissingFileError(
            f"{places[0]} is missing. Get it from {TINY_SOURCE}, or name own auxiliary outliers with --ood_aux PATH."
        )
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}). Fetch it again.") from None
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[1:] != (32, 32, 3):
        raise InputError(f"{path} is {stored.dtype} {stored.shape}; expected uint8 (n, 32, 32, 3).")
    pixels = torch.from_numpy(np.array(stored[:count])).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.full((len(pixels),), -1)


def _imagenet(place: Place, training: bool) -> Task:
    classes = place.id_class_number
    if not 2 <= classes <= imagenet.N_CLASSES:
        raise InputError(f"--id_class_number is {classes}; expected 2 to {imagenet.N_CLASSES}.")
    paths, labels = imagenet.read_list(place.root, imagenet.TRAIN, classes)

    def streamed(found: tuple[list[Path], Tensor]) -> Images:
        return Streamed(*found, place.device, place.workers)

    def outliers(folder: str) -> Images:
        files = imagenet.outlier_folder(place.root, folder)
        return streamed((files, torch.full((len(files),), -1)))

    if place.aux_kind == "CIFAR" and training:
        raise InputError("--ood_aux_dataset CIFAR goes with cifar10 and cifar100; for imagenet pass TinyImages.")
    if place.aux_kind == "Texture" and training:
        warnings.warn("--ood_aux_dataset Texture has no effect with ImageNet: extra_1k is used.", stacklevel=2)
    sets = _named_outliers(place, LARGE)
    return Task(
        name=f"imagenet{classes}",
        counts=torch.bincount(labels, minlength=classes).tolist(),
        layout="own" if sets else "single",
        views=LARGE_FILES,
        test_views=LARGE,
        train=lambda: streamed((paths, labels)),
        val=lambda: streamed(imagenet.read_list(place.root, imagenet.VAL, classes)),
        test=lambda: streamed(imagenet.validation_folder(place.root, classes)),
        aux=_aux(place, LARGE_FILES, lambda: outliers("extra_1k")) if training else None,
        outliers=[] if training else sets or [OutlierSet("imagenet10k", lambda: outliers("ood_test_1k"))],
    )


def _waterbird(place: Place, training: bool) -> Task:
    base = place.root / "waterbird_LT"
    paths, labels, classes = class_folders(base / "train")
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    if counts != WATERBIRD_COUNTS:
        warnings.warn(f"{base / 'train'} has {counts} images; the published set has {WATERBIRD_COUNTS}.", stacklevel=2)

    def split(name: str) -> Images:
        found, numbers, names = class_folders(base / name)
        if names != classes:
            raise InputError(f"{base / name} has the classes {names}, train has {classes}; both need the same.")
        return Streamed(found, numbers, place.device, place.workers)

    def flat(folder: Path) -> Images:
        files = image_files(folder)
        return Streamed(files, torch.full((len(files),), -1), place.device, place.workers)

    if place.aux_kind == "CIFAR" and training:
        raise InputError("--ood_aux_dataset CIFAR goes with cifar10 and cifar100; for waterbird pass Texture.")
    sets = _named_outliers(place, LARGE)
    return Task(
        name="waterbird",
        counts=counts,
        layout="own" if sets else "single",
        views=LARGE_FILES,
        test_views=LARGE,
        train=lambda: Streamed(paths, labels, place.device, place.workers),
        val=lambda: split("val"),
        test=lambda: split("test"),
        aux=_aux(place, LARGE_FILES, lambda: flat(place.root / "texture")) if training else None,
        outliers=[] if training else sets or [OutlierSet("spurious_ood", lambda: flat(base / "spuriuos_ood"))],
    )


def _own(place: Place, training: bool) -> Task:
    views = LARGE if place.model == "ResNet50" else SMALL
    return task_of_own(Own(place.dataset, place.root, views.side), place, training)


def task_of_own(own: Own, place: Place, training: bool) -> Task:
    """The benchmark of a set by name or path."""
    views, device, labels = LARGE if own.side == LARGE.side else SMALL, place.device, own.train.labels
    sizes = np.bincount(labels, minlength=own.n_classes).tolist()
    if place.ratio is not None:
        sizes = longtail.sizes_of_own(labels, own.n_classes, place.ratio)
    chosen = longtail.select(labels, sizes)
    tests = parse_outliers(place.ood_test or default_tests(place.aux))
    aux = place.aux or default_aux([where for _, where in tests])

    def outliers(name: str, where: str) -> OutlierSet:
        return OutlierSet(name, lambda: own.outliers(where, device))

    return Task(
        name=own.name,
        counts=sizes,
        layout="own",
        views=views,
        test_views=views,
        train=lambda: own.train_images(device, chosen),
        val=lambda: own.test_images(device, "val", "test"),
        test=lambda: own.test_images(device, "test", "val"),
        aux=None if not training or place.aux_kind in SYNTHETIC else lambda: own.outliers(aux, device, "train", "test"),
        outliers=[] if training else [outliers(*pair) for pair in tests],
        notes={"aux_outliers": aux},
    )


def _aux(place: Place, views: Views, published: Callable[[], Images]) -> Callable[[], Images] | None:
    """Auxiliary outliers: none for features, those of `--ood_aux`, or the benchmark's own."""
    if place.aux_kind in SYNTHETIC:
        return None
    if place.aux is None:
        return published
    name = place.aux
    return lambda: read_outliers(name, place.root, views.side, place.device, ("train", "test"))


def _named_outliers(place: Place, views: Views) -> list[OutlierSet]:
    """The sets of `--ood_test`; none when the flag is not given."""

    def named(name: str, where: str) -> OutlierSet:
        return OutlierSet(name, lambda: read_outliers(where, place.root, views.side, place.device, ("test",)))

    return [named(*pair) for pair in parse_outliers(place.ood_test)] if place.ood_test else []


def parse_outliers(text: str) -> list[tuple[str, str]]:
    """(name, where) of each set of `--ood_test name=PATH,…`; a name of ood_shared needs no path.

    Raises:
        InputError: no set, or a name twice.
    """
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, where = word.partition("=")
        found.append((name, where) if equals else (_short(word), word))
    names = [name for name, _ in found]
    if not names or len(set(names)) != len(names):
        raise InputError(f"--ood_test `{text}` names no set, or one more than once. Pass name=PATH,name=PATH.")
    return found


def _short(where: str) -> str:
    for prefix in PREFIXES:
        where = where.removeprefix(f"{prefix}:")
    return Path(where).name.split(".")[0] or where


def _warn_of_empty_classes(task: Task) -> None:
    empty = [c for c, count in enumerate(task.counts) if count == 0]
    if empty:
        warnings.warn(
            f"{len(empty)} of {task.n_classes} classes have no training image (the first is {empty[0]}); their prior "
            "is 1e-12, which makes the balanced scores huge.",
            stacklevel=2,
        )

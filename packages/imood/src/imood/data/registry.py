"""`--ds` to a task: one of the published benchmarks, or any set by its name or path.

| own data | training | validation | test | outlier test sets | auxiliary outliers |
|---|---|---|---|---|---|
| a name or a path | long-tailed part, or as it is | `val`, else `test` | `test` | `--ood_test` | `--ood_aux` |
"""

import warnings
from dataclasses import replace
from pathlib import Path

from ood_shared.errors import InputError

from imood import longtail, modes
from imood.data import cifar
from imood.data.inputs import Inputs
from imood.data.published import cifar_task, imagenet_task, waterbird_task
from imood.data.tasks import SYNTHETIC, OutlierSet, Source, Task, parse_outliers
from imood.data.user_data import PREFIXES, UserDataset, as_path, default_aux, default_tests, is_own
from imood.data.views import LARGE, SMALL

NAMED = ("cifar10", "cifar100", "imagenet", "waterbird")


def default_dataset(root: Path) -> str:
    """`cifar10` where `$DATA` has it, else the embedded `digits`."""
    return "cifar10" if cifar.present("cifar10", root) else "digits"


def default_model(dataset: str) -> str:
    """ResNet50 for ImageNet and waterbird, else ResNet18."""
    return "ResNet50" if dataset in ("imagenet", "waterbird") else "ResNet18"


def ratio_of(given: float | str | None, dataset: str) -> float | None:
    """Imbalance of the training set: 0.01 for named sets, none for own data, unless told."""
    if given == "asis":
        return 1.0 if dataset in NAMED else None
    if given is None:
        return None if as_path(dataset) != dataset or "/" in dataset else modes.RATIO
    return float(given)


def loaded(task: Task) -> Task:
    """The task with training images and outliers read once, so that their number is known."""
    train, aux = task.train(), None if task.aux is None else task.aux()
    return replace(task, train=lambda: train, aux=None if aux is None else lambda: aux)


def open_task(source: Source, training: bool) -> Task:
    """The benchmark of `--ds`. Labels of the training set are read at once, for the class counts; images later.

    Args:
        source: where data lie.
        training: whether auxiliary outliers are needed, and the outlier test sets are not.

    Raises:
        InputError: unknown name, or data that do not fit.
        MissingFileError: a file is not there; the message says where to get and to put it.
    """
    makers = {"cifar10": cifar_task, "cifar100": cifar_task, "imagenet": imagenet_task, "waterbird": waterbird_task}
    if source.dataset in makers:
        task = makers[source.dataset](source, training)
    elif is_own(source.dataset):
        task = _own(source, training)
    else:
        raise InputError(
            f"--dataset `{source.dataset}` is not known. Known: {', '.join(NAMED)}, a data set of ood_shared (digits, "
            f"mnist, …), or own data as {', '.join(f'{word}:PATH' for word in PREFIXES)}."
        )
    _warn_of_empty_classes(task)
    return task


def _own(source: Source, training: bool) -> Task:
    views = LARGE if source.model == "ResNet50" else SMALL
    return task_of_own(UserDataset(source.dataset, source.root, views.side), source, training)


def task_of_own(own: UserDataset, source: Source, training: bool) -> Task:
    """The benchmark of a set by name or path."""
    views, device, labels = LARGE if own.side == LARGE.side else SMALL, source.device, own.train.labels
    sizes = longtail.sizes_of_own(labels, own.n_classes, source.ratio)
    chosen = longtail.select(labels, sizes)
    tests = parse_outliers(source.ood_test or default_tests(source.aux))
    with_aux = training and source.aux_kind not in SYNTHETIC
    aux = source.aux or default_aux([where for _, where in tests])
    if with_aux and source.aux_kind != Source.aux_kind:
        warnings.warn(
            f"--ood_aux_dataset {source.aux_kind} has no effect with {own.name}: {aux} serve as outliers. --ood_aux "
            "names others.",
            stacklevel=2,
        )

    def outliers(name: str, where: str) -> OutlierSet:
        return OutlierSet(name, lambda: own.outliers(where, device))

    return Task(
        name=own.name,
        counts=sizes,
        layout="own",
        views=views,
        inputs=Inputs(views, "resize", own.native, own.train.classes),
        train=lambda: own.train_images(device, chosen),
        val=lambda: own.test_images(device, "val", "test"),
        test=lambda: own.test_images(device, "test", "val"),
        aux=(lambda: own.outliers(aux, device, "train", "test")) if with_aux else None,
        outliers=[] if training else [outliers(*pair) for pair in tests],
        notes={"aux_outliers": aux},
    )


def _warn_of_empty_classes(task: Task) -> None:
    empty = [c for c, count in enumerate(task.counts) if count == 0]
    if empty:
        warnings.warn(
            f"{len(empty)} of {task.n_classes} classes have no training image (the first is {empty[0]}); their prior "
            "is 1e-12, which makes the balanced scores huge.",
            stacklevel=2,
        )

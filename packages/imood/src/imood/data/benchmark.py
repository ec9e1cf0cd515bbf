"""What a training within a budget works on: a benchmark's images, made long-tailed or as they are, with outliers."""

from collections.abc import Callable
from pathlib import Path

import torch
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.datasets.noise import NOISE_SEEDS
from torch import Tensor

from imood import longtail
from imood.data.images import Resident
from imood.data.inputs import Inputs
from imood.data.tasks import OutlierSet, Task
from imood.data.user_data import BLOBS, default_aux, make_blobs, read_outliers
from imood.data.views import SMALL, CommonViews

EPOCH_STEPS = 24  # least steps of an epoch when the budget is limited


def task_of_benchmark(
    benchmark: Benchmark,
    name: str,
    ratio: float | None,
    device: torch.device,
    root: Path,
    common: bool,
    batch_size: int | None,
    outliers: Tensor | None = None,
) -> Task:
    """The training set made long-tailed, or as it is; auxiliary outliers that are none of the test sets.

    Args:
        benchmark: the images.
        name: of the ID set.
        ratio: smallest over largest class; None keeps all images.
        device: where the images go.
        root: folder of named sets.
        common: views and outliers of the training that all methods share, in place of the paper's.
        batch_size: of a limited budget, in which an epoch is not shorter than some steps; None for the paper's.
        outliers: auxiliary ones, uint8; None takes an embedded set that is no test set.
    """
    labels = benchmark.train_labels.numpy()
    sizes = longtail.sizes_of_own(labels, len(benchmark.classes), ratio)
    kept = torch.from_numpy(longtail.select(labels, sizes))
    train = Resident(benchmark.train[kept], benchmark.train_labels[kept], device)
    val = Resident(benchmark.test, benchmark.test_labels, device)
    if outliers is None:
        aux_name = default_aux(list(benchmark.ood))
        aux = read_outliers(aux_name, root, SMALL.side, device, ("train", "test"), benchmark.native)
    else:
        aux_name, aux = "given", _outliers(outliers, device)
    if common and outliers is None:  # an epoch is a pass over the training images
        aux = common_outliers(aux, aux_name, len(train))
        aux_name = aux_name if aux_name == BLOBS else f"{aux_name}+{BLOBS}"
    elif common:
        aux = _repeated(aux, -(-len(train) // len(aux)))
    elif batch_size is not None:  # an epoch of a few steps would spend the budget on evaluations and checkpoints
        smaller = min(len(train), len(aux))
        times = -(-EPOCH_STEPS * min(batch_size, smaller) // smaller)
        train, aux = _repeated(train, times), _repeated(aux, times)

    return Task(
        name=name,
        counts=sizes,
        layout="own",
        views=CommonViews(mirror=benchmark.mirror) if common else SMALL,
        inputs=Inputs(SMALL, "resize", benchmark.native, benchmark.classes),
        train=lambda: train,
        val=lambda: val,
        test=lambda: val,
        aux=lambda: aux,
        outliers=[OutlierSet(ood_name, _loader(images, device)) for ood_name, images in benchmark.ood.items()],
        notes={"aux_outliers": aux_name},
    )


def common_outliers(aux: Resident, name: str, n_train: int) -> Resident:
    """Auxiliary outliers for the common views: half of them those of the set, half smooth coloured noise.

    The paper has 300,000 random images, jittered in colour and contrast. An embedded set is a few hundred images, which
    the common views do not jitter. Photographs at the size of digits have half their contrast: contrast alone then
    tells the two apart, and whatever has as much as digits, such as noise, counts as ID. The blobs have any contrast.

    Args:
        aux: the set by `name`, repeated as often as needed.
        name: `blobs` stays as it is.
        n_train: at least so many are returned.
    """
    if name == BLOBS:
        return _repeated(aux, -(-n_train // len(aux)))
    half = max(len(aux), -(-n_train // 2))
    drawn = make_blobs(half, aux.images.shape[-1], torch.Generator().manual_seed(NOISE_SEEDS["train"]))
    images = torch.cat([_repeated(aux, -(-half // len(aux))).images[:half], drawn.to(aux.images.device)])
    return _outliers(images, images.device)


def _loader(images: Tensor, device: torch.device) -> Callable[[], Resident]:
    return lambda: _outliers(images, device)


def _outliers(images: Tensor, device: torch.device) -> Resident:
    return Resident(images, torch.full((len(images),), -1), device)


def _repeated(images: Resident, times: int) -> Resident:
    return Resident(images.images.repeat(times, 1, 1, 1), images.labels.repeat(times), images.images.device)

"""What the `fit` of a package does with a user's images, labels and folder."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ood_shared import checkpoints
from ood_shared.datasets.benchmark import Benchmark, native_size
from ood_shared.errors import InputError, one_line
from ood_shared.images import Images, image_batches


def as_benchmark(
    images: Images,
    labels: Sequence[int] | np.ndarray | Tensor | None,
    prepare: Callable[[Tensor], Tensor],
    classes: Sequence[str] | None = None,
    mirror: bool = False,
) -> Benchmark:
    """A user's images as a training of a package takes them: without OOD sets, and with themselves for validation.

    `native` of the result is their own size, where they have one and it is smaller than the network's.

    Args:
        images: to train on; all of them are.
        labels: whole numbers (n,), 0..classes-1; None for one class.
        prepare: from uint8 (k, c, h, w) to the network's size.
        classes: their names; their numbers when None.
        mirror: whether common views are mirrored.

    Raises:
        InputError: labels of another number or kind, or a class without images.
    """
    sizes: set[tuple[int, int]] = set()

    def noted(own: Tensor) -> Tensor:
        sizes.add((own.shape[2], own.shape[3]))
        return prepare(own)

    pixels = torch.cat(list(image_batches(images, noted)))
    side = pixels.shape[2]
    native = native_size(sizes.pop(), side) if len(sizes) == 1 else (side, side)
    if not isinstance(mirror, bool):
        raise InputError(f"mirror is {mirror!r}; expected True or False.")
    targets, names = as_labels([0] * len(pixels) if labels is None else labels, len(pixels), classes)
    return Benchmark(pixels, targets, pixels, targets, names, {}, native, mirror)


def as_labels(
    labels: Sequence[int] | np.ndarray | Tensor, n: int, classes: Sequence[str] | None = None
) -> tuple[Int64[Tensor, " n"], tuple[str, ...]]:
    """A user's labels on the CPU, and the names of their classes.

    Args:
        labels: whole numbers (n,), each of 0..classes-1 at least once.
        n: number of images.
        classes: names; the numbers when None.

    Raises:
        InputError: labels of another number or kind, a class without images, names of another number or one twice.
    """
    try:
        numbers = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError:
        raise InputError(
            f"The labels are lists of different lengths; expected ({n},) whole numbers from 0 on."
        ) from None
    if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
        found = f"{numbers.dtype} {numbers.shape}"
        raise InputError(f"The labels are {found} for {n} images; expected ({n},) whole numbers from 0 on.")
    if classes is not None and (isinstance(classes, str) or not isinstance(classes, Sequence)):
        raise InputError(f"classes is {classes!r}; expected a list of names.")
    if classes is not None and len({*map(str, classes)}) < len(classes):
        raise InputError(f"classes is {one_line(repr(classes), 120)}; expected different names.")
    present = np.unique(numbers)
    last = len(present) - 1 if classes is None else len(classes) - 1
    if (present[0], present[-1], len(present)) != (0, last, last + 1):
        raise InputError(f"The labels are {present[:10].tolist()}; expected each of 0 to {last}.")
    names = tuple(map(str, range(last + 1))) if classes is None else tuple(map(str, classes))
    return torch.from_numpy(numbers.astype(np.int64)), names


@contextmanager
def fitting_in(output_dir: str | Path | None) -> Iterator[Path]:
    """The folder of a `fit`: a new or empty one, or a temporary one. The caller's generators are left as they were.

    Raises:
        InputError: the folder holds something: half of a new run and half of an old one would pass for a whole.
    """
    with checkpoints.kept_generators():
        if output_dir is None:
            with tempfile.TemporaryDirectory() as temporary:
                yield Path(temporary)
            return
        folder = Path(output_dir)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"output_dir {folder} is there and not an empty folder. Name a new one, or empty it.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"output_dir {folder} cannot be made: {error.strerror}. Name another one.") from None
        yield folder

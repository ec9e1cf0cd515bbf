"""Sets of images: small ones lie on the device as uint8, large ones are read from their files by worker processes.

Both give uint8 batches; `views` makes floats of them on the device. Draws come from seeds that depend on the epoch, the
step and the image alone, so that a resumed run sees the same pixels, however many workers read them.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from ood_shared.augment import crop_box
from ood_shared.datasets.decode import EXTENSIONS, is_image, read_image
from ood_shared.datasets.formats import left_out
from ood_shared.datasets.tree import FolderTree, visible
from ood_shared.devices import send
from ood_shared.errors import InputError, MissingFileError
from ood_shared.notes import say
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imood.data.views import AREA

RESIZED = 256  # shorter side of a large test image before the centre of 224 is cut


@runtime_checkable
class Images(Protocol):
    """A set of labelled images; label -1 where there is none."""

    labels: Tensor

    def __len__(self) -> int: ...

    def train_batches(self, orders: Sequence[Tensor], seeds: Sequence[int], views: int) -> Iterator[Tensor]:
        """uint8 (views n, 3, side, side) for each order of n indices: all first views, then all second ones."""

    def test_batches(self, indices: Tensor, batch_size: int) -> Iterator[Tensor]:
        """uint8 (n, 3, side, side) of the indices in order."""


def sent_at_once(orders: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Index tensors on a device, by one transfer."""
    return send(torch.cat(list(orders)), device).split([len(order) for order in orders]) if orders else ()


class Resident:
    """A set that lies on the device as one uint8 tensor.

    Args:
        images: uint8 (n, 3, side, side).
        labels: int64 (n,).
        device: where the images shall lie.
    """

    def __init__(
        self, images: UInt8[Tensor, "n 3 side side"], labels: Int64[Tensor, " n"], device: torch.device | str = "cpu"
    ) -> None:
        self.images, self.labels = images.to(device), labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def train_batches(self, orders: Sequence[Tensor], seeds: Sequence[int], views: int) -> Iterator[Tensor]:
        """See `Images`; the seeds do not matter here."""
        for order in sent_at_once(orders, self.images.device):
            chosen = self.images.index_select(0, order)
            yield chosen if views == 1 else chosen.repeat(views, 1, 1, 1)

    def test_batches(self, indices: Tensor, batch_size: int) -> Iterator[Tensor]:
        """See `Images`."""
        for part in indices.to(self.images.device).split(batch_size):
            yield self.images.index_select(0, part)


class Streamed:
    """A set of image files that worker processes read: random parts for training, the centre of 224 for tests.

    Args:
        paths: of the files.
        labels: int64 (n,).
        device: of the batches.
        workers: processes that read; 0 reads in this one.
    """

    side = 224

    def __init__(
        self, paths: Sequence[Path], labels: Int64[Tensor, " n"], device: torch.device | str = "cpu", workers: int = 0
    ) -> None:
        self.paths, self.labels = [str(path) for path in paths], labels.to(device)
        self.device, self.workers = torch.device(device), workers

    def __len__(self) -> int:
        return len(self.paths)

    def train_batches(self, orders: Sequence[Tensor], seeds: Sequence[int], views: int) -> Iterator[Tensor]:
        """See `Images`; each view of each image has the generator (seed of the batch, position in it, view)."""
        items = [
            [(index, seed + position) for position, index in enumerate(order.tolist())]
            for order, seed in zip(orders, seeds, strict=True)
        ]
        yield from self._load(_TrainFiles(self.paths, self.side, views), items)

    def test_batches(self, indices: Tensor, batch_size: int) -> Iterator[Tensor]:
        """See `Images`."""
        items = [[(index, 0) for index in part.tolist()] for part in indices.split(batch_size)]
        yield from self._load(_TestFiles(self.paths, self.side), items)

    def _load(self, files: "Dataset[Tensor]", items: list[list[tuple[int, int]]]) -> Iterator[Tensor]:
        cuda = self.device.type == "cuda"
        loader: DataLoader[Tensor] = DataLoader(
            files, batch_sampler=items, num_workers=min(self.workers, len(items)), pin_memory=cuda
        )
        for batch in loader:  # (n, views, 3, side, side)
            yield batch.to(self.device, non_blocking=cuda).transpose(0, 1).flatten(0, 1)


class _TrainFiles(Dataset[Tensor]):
    """Random parts of a file, as many as there are views; a JPEG that is cut short gives what it has."""

    def __init__(self, paths: list[str], side: int, views: int) -> None:
        self.paths, self.side, self.views = paths, side, views

    def __getitem__(self, item: tuple[int, int]) -> Tensor:
        index, seed = item
        picture = read_image(Path(self.paths[index]), cut_short=True)
        generator = torch.Generator().manual_seed(seed)
        views = []
        for _ in range(self.views):
            top, left, tall, wide = crop_box(picture.height, picture.width, generator, AREA).tolist()
            box = (left, top, left + wide, top + tall)
            views.append(as_tensor(picture.resize((self.side, self.side), Image.Resampling.BILINEAR, box)))
        return torch.stack(views)


class _TestFiles(Dataset[Tensor]):
    """The centre of a file, its shorter side at 256."""

    def __init__(self, paths: list[str], side: int) -> None:
        self.paths, self.side = paths, side

    def __getitem__(self, item: tuple[int, int]) -> Tensor:
        return centre(read_rgb(Path(self.paths[item[0]])), self.side).unsqueeze(0)


def read_rgb(path: Path) -> Image.Image:
    """An image file as RGB, by the rules that all packages share (`ood_shared.datasets.pixels`).

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no image, or is damaged.
    """
    return read_image(path)


def centre(picture: Image.Image, side: int) -> UInt8[Tensor, "3 side side"]:
    """The middle square of an image whose shorter side was made 256 (for side 224), bilinearly."""
    shorter = round(RESIZED * side / 224)
    width, height = picture.size
    size = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return as_tensor(picture.crop((left, top, left + side, top + side)))


def squeezed(picture: Image.Image, side: int) -> UInt8[Tensor, "3 side side"]:
    """The whole image at side x side, bilinearly with antialiasing; the aspect ratio is not kept."""
    size = (side, side)
    return as_tensor(picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR))


def as_tensor(picture: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The pixels, channels first."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def read_all(paths: Sequence[Path], side: int, workers: int) -> UInt8[Tensor, "n 3 side side"]:
    """All files squeezed to side x side, read by a few threads (decoding leaves the interpreter's lock)."""
    out = torch.empty(len(paths), 3, side, side, dtype=torch.uint8)

    def read(position: int) -> None:
        out[position] = squeezed(read_rgb(paths[position]), side)

    with ThreadPoolExecutor(max(1, min(workers, 16))) as threads:
        for _ in threads.map(read, range(len(paths))):
            pass
    return out


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, sorted; hidden ones are not seen, those of kinds that are not read are said.

    Raises:
        MissingFileError: there is no such folder.
        InputError: it has no images; a file with the ending of one is a pipe or the like; a name is no UTF-8.
    """
    tree = FolderTree(folder)
    files = sorted(folder / name for name in tree.walk("") if is_image(name))
    say(f"{folder}: {note}" for note in left_out(tree.unread, len(files)))
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(EXTENSIONS[:3])}, …).")
    return files


def class_folders(folder: Path) -> tuple[list[Path], Tensor, tuple[str, ...]]:
    """Files, labels and class names of an ImageFolder tree, classes in alphabetical order.

    Raises:
        MissingFileError: there is no such folder.
        InputError: it has no class folders with images.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is missing; expected a folder with one folder of images for each class.")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and visible(entry.name))
    if not classes:
        raise InputError(f"{folder} has no class folders; expected one folder of images for each class.")
    paths, labels = [], []
    for number, name in enumerate(classes):
        own = image_files(folder / name)
        paths += own
        labels += [number] * len(own)
    return paths, torch.tensor(labels), tuple(classes)

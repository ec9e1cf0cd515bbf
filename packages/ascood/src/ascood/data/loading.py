"""Batches of images on the device: from memory where a set fits, else from files through worker processes.

Training batches can be stopped and continued at any batch: orders come from a generator whose state is saved, and the
draws of a single image from the run's seed, the epoch and the image's number, whichever worker makes them.
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from ood_shared import distributed
from ood_shared.augment import common_views, random_crop, random_flip
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader, to_float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ascood.data.decoded import decode, fits_memory
from ascood.data.preprocessing import IN_COMMON, PADDING, Chain, random_part
from ascood.data.samples import Samples

FEW = 512  # images up to which no worker processes are started


@runtime_checkable
class TrainBatches(Protocol):
    """What training needs of its data: (normalised images, labels) on the device, and a position that can be saved."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def __len__(self) -> int: ...
    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class MemoryBatches:
    """Batches of a set on the device; flips and crops are drawn for every image, on whole batches."""

    def __init__(self, images: Tensor, labels: Tensor, chain: Chain, batch_size: int, shuffle: bool, seed: int) -> None:
        self.chain = chain
        order = torch.Generator().manual_seed(seed)
        total = len(images)
        ranks = distributed.world_size()
        draw = None
        if ranks > 1 and shuffle:
            draw = _shard_of_permutation(total)
        self.loader = DeviceLoader(
            images, labels, batch_size, shuffle=shuffle, generator=order if shuffle else None, draw=draw,
            drawn=-(-total // ranks) if draw else None,
        )  # fmt: skip
        self.draws = torch.Generator().manual_seed(seed + 1 + distributed.rank())

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels, _ in self.loader:
            if self.chain.kind == "classic":
                images = random_crop(random_flip(images, self.draws), PADDING, self.draws)
            elif self.chain.kind in IN_COMMON:
                images = common_views(images, self.draws, self.chain.kind == "mirrored")
            yield to_float(images, self.chain.mean, self.chain.std), labels

    def state_dict(self) -> dict[str, Any]:
        """Position and draws."""
        return {"loader": self.loader.state_dict(), "draws": self.draws.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.loader.load_state_dict(state["loader"])
        self.draws.set_state(state["draws"])


class FileBatches:
    """Batches that worker processes decode and augment image by image; orders as in `DeviceLoader`."""

    def __init__(
        self,
        samples: Samples,
        chain: Chain,
        batch_size: int,
        shuffle: bool,
        seed: int,
        workers: int,
        device: torch.device,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}; expected at least 1.")
        self.samples, self.chain, self.batch_size, self.shuffle = samples, chain, batch_size, shuffle
        self.seed, self.device = seed, device
        self.epoch = 0  # epochs begun
        self.position = 0  # batches handed out in the epoch that is under way
        self._resuming = False
        self._plan = _Plan()
        workers = 0 if len(samples) <= FEW else workers
        self._loader = DataLoader(
            _Decoded(samples, chain, seed),
            batch_sampler=self._plan,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        mine = -(-len(self.samples) // distributed.world_size())
        return -(-mine // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not self._resuming:
            self.epoch, self.position = self.epoch + 1, 0
        self._resuming = False
        order = torch.arange(len(self.samples))
        if self.shuffle:
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(_mix(self.seed, self.epoch, -1)))
        batches = distributed.shard(order).split(self.batch_size)[self.position :]
        self._plan.batches = [[(self.epoch, int(index)) for index in batch] for batch in batches]
        for images, labels in self._loader:
            self.position += 1
            images = images.to(self.device, non_blocking=True)
            yield to_float(images, self.chain.mean, self.chain.std), labels.to(self.device, non_blocking=True)
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """Epoch and position."""
        return {
            "samples": len(self.samples),
            "batch_size": self.batch_size,
            "epoch": self.epoch,
            "position": self.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there: with the next batch, or with the next epoch when that one was finished."""
        if state["samples"] != len(self.samples) or state["batch_size"] != self.batch_size:
            raise InputError("The saved run read other data, or with another batch size. Resume with the same.")
        self.epoch, self.position = state["epoch"], state["position"]
        self._resuming = self.position > 0


def train_batches(
    samples: Samples, chain: Chain, batch_size: int, shuffle: bool, seed: int, workers: int, device: torch.device
) -> TrainBatches:
    """Training batches of a set, from memory when it fits."""
    if not fits_memory(samples, chain):
        return FileBatches(samples, chain, batch_size, shuffle, seed, workers, device)
    labels = torch.from_numpy(samples.labels).to(device)
    return MemoryBatches(decode(samples, chain).to(device), labels, chain, batch_size, shuffle, seed)


class TestBatches:
    """Images of a set in order, without any draw; kept decoded when they fit, so that a second pass is quick.

    Under several processes each gets its part of the set (`distributed.shard`).
    """

    __test__ = False  # not a test, whatever its name

    def __init__(self, samples: Samples, chain: Chain, batch_size: int, workers: int, device: torch.device) -> None:
        self.samples, self.chain, self.batch_size = samples, chain, batch_size
        self.workers, self.device = workers, device
        self._kept: Tensor | None = None

    def __iter__(self) -> Iterator[Tensor]:
        for images in self._raw():
            yield to_float(images.to(self.device, non_blocking=True), self.chain.mean, self.chain.std)

    def read(self) -> None:
        """Read the images now, where they are kept: a damaged one is found before anything is trained or written.

        Raises:
            InputError: an image is damaged.
        """
        if self._kept is None and fits_memory(self.samples, self.chain):
            self._kept = decode(self.samples.select(self._mine().numpy()), self.chain)

    def _mine(self) -> Tensor:
        return distributed.shard(torch.arange(len(self.samples)))

    def _raw(self) -> Iterator[Tensor]:
        self.read()
        if self._kept is not None:
            yield from self._kept.split(self.batch_size)
            return
        mine = self._mine()
        plan = _Plan()
        plan.batches = [[(0, int(index)) for index in batch] for batch in mine.split(self.batch_size)]
        workers = 0 if len(self.samples) <= FEW else self.workers
        for images, _ in DataLoader(_Decoded(self.samples, self.chain, 0), batch_sampler=plan, num_workers=workers):
            yield images


class _Plan:
    """Lists of (epoch, index); the DataLoader asks anew at the start of each epoch, also with workers that stay."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Decoded(Dataset[tuple[Tensor, int]]):
    def __init__(self, samples: Samples, chain: Chain, seed: int) -> None:
        self.samples, self.chain, self.seed = samples, chain, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        image = self.samples.open(index)
        return random_part(image, self.chain, _mix(self.seed, epoch, index)), int(self.samples.labels[index])


def _mix(seed: int, epoch: int, index: int) -> int:
    """A seed for each image of each epoch: neighbouring numbers give unrelated streams (splitmix64's finaliser)."""
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + (index + 1) * 0x8CB92BA72F3D8DD7) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1


def _shard_of_permutation(total: int) -> Any:
    def draw(generator: torch.Generator) -> Tensor:
        return distributed.shard(torch.randperm(total, generator=generator))

    return draw

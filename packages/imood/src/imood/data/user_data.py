"""Own data and the named sets of `ood_shared` as long-tailed benchmarks.

Images become square RGB of the side that the network wants. Outliers that are larger than small ID images are reduced
to their size first: sharpness alone would tell them apart.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8
from ood_shared.datasets import ImageSet, known_names, load_any_size, make_noise, resize
from ood_shared.datasets.imageset import told
from ood_shared.datasets.noise import NOISE_COUNT, NOISE_SEEDS
from ood_shared.datasets.own import looks_like_path
from ood_shared.errors import InputError, MissingSplitError
from torch import Tensor

from imood.data.images import Resident

PREFIXES = ("folder", "tar", "npz")
DEFAULT_TESTS = ("textures", "faces", "letters")
BLOBS = "blobs"
DEFAULT_AUX = ("photos", "textures", "letters", BLOBS)  # the first that is no test set is trained with


def is_own(dataset: str) -> bool:
    """Whether `--ds` names a set of `ood_shared` or a path."""
    return dataset in known_names() or as_path(dataset) != dataset or looks_like_path(dataset)


def as_path(dataset: str) -> str:
    """The path of `folder:PATH`, `tar:PATH`, `npz:PATH`; anything else as it is.

    Raises:
        InputError: a prefix without a path.
    """
    for prefix in PREFIXES:
        if dataset.startswith(f"{prefix}:"):
            rest = dataset.removeprefix(f"{prefix}:")
            if not rest:
                raise InputError(f"`{dataset}` names no path. Pass {prefix}:PATH.")
            return rest if "/" in rest else f"./{rest}"
    return dataset


class UserDataset:
    """A set by name or path, whose splits are read when they are asked for.

    Args:
        dataset: `folder:PATH`, `tar:PATH`, `npz:PATH`, a path, or a name of `ood_shared`.
        root: folder of downloaded sets.
        side: of the images that the network wants, in pixels.
    """

    def __init__(self, dataset: str, root: Path, side: int) -> None:
        self.where, self.root, self.side = as_path(dataset), root, side

    @property
    def name(self) -> str:
        """Short name for folders and tables."""
        return Path(self.where).name.split(".")[0] or "own"

    @cached_property
    def train(self) -> ImageSet:
        """The training split.

        Raises:
            InputError: fewer than two classes.
        """
        images = self._read(self.where, "train")
        if len(images.classes) < 2:
            raise InputError(f"{self.where} has {len(images.classes)} class; expected at least 2.")
        return images

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.train.classes)

    @property
    def native(self) -> tuple[int, int]:
        """Height and width of the training images as they are stored."""
        height, width = self.train.images.shape[1:3]
        return height, width

    def train_images(self, device: torch.device, chosen: Int64[np.ndarray, " kept"]) -> Resident:
        """The chosen training images."""
        images = self.train.select(chosen)
        return self._resident(images, torch.from_numpy(images.labels), device)

    def test_images(self, device: torch.device, *splits: str) -> Resident:
        """The first of the splits that the set has."""
        images = self._read(self.where, *splits)
        if images.classes != self.train.classes:
            raise InputError(f"{self.where}: {splits[0]} has other classes than train; both need the same.")
        return self._resident(images, torch.from_numpy(images.labels), device)

    def outliers(self, where: str, device: torch.device, *splits: str) -> Resident:
        """The first of the splits of another set that it has; all labels are -1."""
        return read_outliers(where, self.root, self.side, device, splits or ("test",), self.native, self._radius)

    def _radius(self) -> float:
        """Of the noise `sphere`: the largest norm of a training image, and 2."""
        pixels = resize(self.train.images, (self.side, self.side), 3).float().div_(255)
        return float(pixels.flatten(1).norm(dim=1).max()) + 2

    def _resident(self, images: ImageSet, labels: Tensor, device: torch.device) -> Resident:
        return Resident(resize(images.images, (self.side, self.side), 3), labels, device)

    def _read(self, where: str, *splits: str) -> ImageSet:
        return read_set(where, self.root, self.side, splits)


def read_set(where: str, root: Path, side: int, splits: tuple[str, ...]) -> ImageSet:
    """The first of the splits that the set has, after its notes; at side x side where its images differ in size."""
    folder = root if root.is_dir() and where in known_names() else None
    for split in splits:
        try:
            return told(load_any_size(where, split, folder, side))
        except MissingSplitError:
            if split == splits[-1]:
                raise
    raise ValueError("no split was asked for")


def read_outliers(
    where: str,
    root: Path,
    side: int,
    device: torch.device,
    splits: tuple[str, ...],
    native: tuple[int, int] | None = None,
    radius: "float | object" = None,
) -> Resident:
    """Outlier images with labels of -1: the first of the splits that the set has, or the noise `sphere`."""
    if where == "sphere":
        generator = torch.Generator().manual_seed(NOISE_SEEDS[splits[0]])
        size = float(radius()) if callable(radius) else float(3 * side * side) ** 0.5 + 2
        floats = make_noise("sphere", NOISE_COUNT, (3, side, side), generator, radius=size)
        return Resident(floats, torch.full((len(floats),), -1), device)
    if where == BLOBS:
        generator = torch.Generator().manual_seed(NOISE_SEEDS[splits[0]])
        images = make_blobs(NOISE_COUNT, side, generator)
        return Resident(images, torch.full((len(images),), -1), device)
    loaded = read_set(as_path(where), root, side, splits)
    pixels = resize(loaded.images, (side, side), 3, native)
    return Resident(pixels, torch.full((len(loaded),), -1), device)


def make_blobs(n: int, side: int, generator: torch.Generator) -> UInt8[Tensor, "n 3 side side"]:
    """Smooth coloured noise: random colours on grids of 2 to 16 cells a side, enlarged; half of the images grey."""
    parts = []
    for cells in (2, 4, 8, 16):
        count = -(-n // 4)
        coarse = torch.rand(count, 3, cells, cells, generator=generator)
        grey = torch.rand(count, generator=generator) < 0.5
        coarse = torch.where(grey.view(-1, 1, 1, 1), coarse[:, :1], coarse)
        contrast = torch.rand(count, 1, 1, 1, generator=generator)
        parts.append(F.interpolate(0.5 + (coarse - 0.5) * 2 * contrast, size=(side, side), mode="bicubic"))
    images = torch.cat(parts)[:n]
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def default_tests(aux: str | None) -> str:
    """The embedded outlier sets without the one that is trained with."""
    return ",".join(name for name in DEFAULT_TESTS if name != aux)


def default_aux(tests: list[str]) -> str:
    """An embedded outlier set that is none of the test sets, else smooth noise that is made for this."""
    return next(name for name in DEFAULT_AUX if name not in tests)

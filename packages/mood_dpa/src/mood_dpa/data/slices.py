"""2D slices of volumes on disk, and the batches that training draws from them.

Two layouts hold the same slices under the same names. The published one is a file per slice, `<volume>_<index>.npy`.
The packed one has a file per volume, `<volume>.stack.npy` (slices, h, w), which is memory-mapped, with the indices in
`<volume>.index.npy`; it spares opening hundreds of thousands of small files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mood_dpa.data.folds import cases_of, read_folds
from mood_dpa.data.preprocessing import area_resize, normalise, prepare_array, prepare_slices, resize_slices
from mood_dpa.data.volumes import case_id, is_volume, read_volume
from mood_dpa.settings import ImageSet
from mood_dpa.standalone import InputError, MissingFileError

STACK, INDEX = ".stack.npy", ".index.npy"


def cut_slices(
    data: npt.NDArray[Any], axis: int, least_pixels: int | None, size: int | None, dtype: str = "float16"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """The slices of a volume along an axis.

    Values are cut to float16 first, as published; resized slices are the means of areas, in float32.

    Args:
        data: (n0, n1, n2).
        axis: 0, 1 or 2.
        least_pixels: leave out slices with fewer positive pixels, counted after resizing; None keeps all.
        size: (size, size) to reach.
        dtype: of the values; `float32` keeps them whole.

    Returns:
        Indices (k,) in the volume and slices (k, h, w).
    """
    stack = np.moveaxis(data.astype(dtype), axis, 0)
    if size is not None:
        parts = [torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in _chunks(stack, 64)]
        stack = torch.cat([area_resize(part[:, None], (size, size))[:, 0] for part in parts]).numpy()
    index = np.arange(len(stack))
    if least_pixels is not None:
        index = np.flatnonzero((stack > 0).sum(axis=(1, 2)) >= least_pixels)
    return index, np.ascontiguousarray(stack[index])  # NIfTI data come column by column


def _chunks(stack: npt.NDArray[Any], length: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(stack), length):
        yield stack[start : start + length]


class SliceFolder:
    """The slices of a folder in either layout, by name."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise MissingFileError(f"image_root {root} is missing; save_2D.py writes one.")
        self.root = root
        self._packed: dict[str, tuple[str, int]] = {}
        names = sorted(path.name for path in root.iterdir())
        for name in names:
            if name.endswith(STACK):
                base = name.removesuffix(STACK)
                for row, index in enumerate(np.load(root / f"{base}{INDEX}")):
                    self._packed[f"{base}_{index}.npy"] = (base, row)
        single = [n for n in names if n.endswith(".npy") and not n.endswith((STACK, INDEX)) and not n.startswith(".")]
        self.names = sorted([*self._packed, *single])

    def read(self, name: str) -> npt.NDArray[np.floating]:
        """One slice (h, w).

        Raises:
            InputError: the file is damaged.
        """
        try:
            if name in self._packed:
                base, row = self._packed[name]
                return np.asarray(_mapped(self.root / f"{base}{STACK}")[row])
            return np.ascontiguousarray(np.load(self.root / name, allow_pickle=False))
        except FileNotFoundError:
            raise MissingFileError(f"{self.root / name} is missing.") from None
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{self.root / name} is damaged ({error}). Run save_2D.py again.") from None


@lru_cache(maxsize=2048)
def _mapped(path: Path) -> npt.NDArray[Any]:
    stack: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return stack


class Images:
    """The images of a data set entry of a configuration: chosen by folds, read in batches, resized and normalised.

    Attributes:
        names: file names, sorted.
        size: pixels per side that they are brought to, or None.
    """

    def __init__(self, chosen: ImageSet, seed: int | None = None) -> None:
        self.volumes, self.root, self.masks = chosen.volumes, chosen.image_root, chosen.mask_root
        self.size, self.normalised, self.channels3 = chosen.size, chosen.normalised, chosen.channels3
        cases = cases_of(read_folds(chosen.folds_path), chosen.split, chosen.fold)
        if self.volumes:
            if not self.root.is_dir():
                raise MissingFileError(f"image_root {self.root} is missing.")
            listed = sorted(path.name for path in self.root.iterdir() if is_volume(path.name))
        else:
            self.folder = SliceFolder(self.root)
            self.mask_folder = SliceFolder(self.masks) if self.masks else None
            listed = self.folder.names
        self.names = [name for name in listed if case_id(name) in cases]
        self._limit(chosen, seed)
        if not self.names:
            raise InputError(
                f"{self.root}: none of its {len(listed)} files belongs to split {chosen.split} of fold "
                f"{chosen.fold} in {chosen.folds_path}."
            )
        self._cache: Tensor | None = None
        if chosen.cache:
            self._cache = self._read_all()

    def __len__(self) -> int:
        return len(self.names)

    def _limit(self, chosen: ImageSet, seed: int | None) -> None:
        if chosen.filter_brain_size is not None:
            if chosen.brain_size_path is None:
                raise InputError("filter_brain_size needs brain_size_path.")
            small = _small_slices(chosen.brain_size_path, chosen.filter_brain_size)
            self.names = [name for name in self.names if name not in small]
        most = chosen.max_dataset_size
        if most is not None and most < len(self.names):
            order = np.random.default_rng(seed).permutation(len(self.names))[:most]
            self.names = [self.names[i] for i in order]

    def read(self, index: list[int], device: torch.device, pool: ThreadPoolExecutor | None = None) -> Tensor:
        """Images as the networks take them: (n, 1, r, r), for volumes (n, 1, r, r, r); 3 channels on request.

        Args:
            index: positions in `names`.
            device: where they are resized.
            pool: threads that read files.
        """
        if self._cache is not None:
            return self._cache[index].to(device, non_blocking=True)
        arrays = list(pool.map(self.raw, index) if pool else map(self.raw, index))
        return self.prepare(arrays, device)

    def raw(self, position: int) -> npt.NDArray[np.floating]:
        """The array of one file."""
        name = self.names[position]
        return read_volume(self.root / name).data if self.volumes else self.folder.read(name)

    def prepare(self, arrays: list[npt.NDArray[np.floating]], device: torch.device) -> Tensor:
        """Arrays as a batch."""
        if self.volumes:
            cubes = [torch.from_numpy(np.asarray(a, np.float32)).to(device)[None, None] for a in arrays]
            if self.size is not None:
                cubes = [area_resize(volume, [self.size] * 3) for volume in cubes]
            batch = torch.cat(cubes)
            return normalise(batch) if self.normalised else batch
        if self.channels3:
            return torch.stack([prepare_array(a, self.size, self.normalised, True) for a in arrays]).to(device)
        if len({a.shape for a in arrays}) == 1:
            return prepare_slices(torch.from_numpy(np.stack(arrays)).to(device), self.size, self.normalised)
        if self.size is None:
            raise InputError(f"{self.root} holds slices of several sizes; set transform_kwargs.resize.")
        return torch.cat(
            [prepare_slices(torch.from_numpy(a)[None].to(device), self.size, self.normalised) for a in arrays]
        )

    def mask(self, position: int) -> npt.NDArray[np.floating]:
        """The mask of one image, resized as the image; resized masks are soft.

        Raises:
            InputError: there is no mask_root, or the mask has another shape.
        """
        if self.masks is None:
            raise InputError("dataset_kwargs.mask_root is missing; evaluation needs the masks.")
        name = self.names[position]
        if self.volumes:
            return read_volume(self.masks / name).data
        assert self.mask_folder is not None
        soft = torch.from_numpy(self.mask_folder.read(name).astype(np.float32))[None]
        return resize_slices(soft, self.size)[0].numpy()

    def _read_all(self) -> Tensor:
        cpu = torch.device("cpu")
        parts = [self.prepare([self.raw(i)], cpu) for i in range(len(self))]
        return torch.cat(parts)


class Batches:
    """Endless shuffled batches of an image set, read ahead by threads; the position can be saved.

    A set smaller than a batch is given whole. Several ranks draw the same order and take every n-th image of a batch.
    """

    def __init__(
        self,
        images: Images,
        generator: torch.Generator,
        device: torch.device,
        workers: int = 0,
        ranks: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.device, self.generator = images, device, generator
        self.rank, self.count = ranks
        self._pool = ThreadPoolExecutor(min(workers, 16)) if workers else None
        self._ahead = ThreadPoolExecutor(1)
        self._order = torch.randperm(len(images), generator=generator)
        self._at = 0
        self._next: Any = None

    def display(self, count: int) -> Tensor:
        """The first images of the first batch."""
        return self.images.read(self._order[:count].tolist(), self.device)

    def take(self, batch_size: int) -> Tensor:
        """The next batch, on the device."""
        index = self._advance(batch_size)
        if self._next is not None and self._next[0] == index:
            batch: Tensor = self._next[1].result()
        else:
            batch = self._read(index)
        before = (self._order, self._at, self.generator.get_state())
        following = self._advance(batch_size)
        self._order, self._at = before[0], before[1]
        self.generator.set_state(before[2])
        self._next = (following, self._ahead.submit(self._read, following))
        return batch

    def _read(self, index: list[int]) -> Tensor:
        return self.images.read(index, self.device, self._pool)

    def _advance(self, batch_size: int) -> list[int]:
        size = min(batch_size, len(self.images))
        if size % self.count:
            raise InputError(f"A batch of {size} images cannot be divided over {self.count} processes evenly.")
        if self._at + size > len(self._order):
            self._order = torch.randperm(len(self.images), generator=self.generator)
            self._at = 0
        index = self._order[self._at : self._at + size]
        self._at += size
        own: list[int] = index[self.rank :: self.count].tolist()
        return own

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""
        return {"order": self._order, "at": self._at, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            InputError: the set has changed its size.
        """
        if len(state["order"]) != len(self.images):
            raise InputError(
                f"The run was started with {len(state['order'])} training images, now there are {len(self.images)}."
            )
        self._order, self._at, self._next = state["order"], int(state["at"]), None
        self.generator.set_state(state["generator"])


def _small_slices(path: Path, least: float) -> set[str]:
    import csv

    try:
        with path.open(encoding="utf-8") as file:
            return {row["filename"] for row in csv.DictReader(file) if float(row["brain_size"]) < least}
    except FileNotFoundError:
        raise MissingFileError(f"brain_size_path {path} is missing.") from None
    except (KeyError, ValueError):
        raise InputError(f"{path}: expected the columns filename and brain_size (a number).") from None

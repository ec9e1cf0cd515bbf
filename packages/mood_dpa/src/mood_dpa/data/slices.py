"""The images of a data set entry: which files of a folder, how they are read, and how they are prepared."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ood_shared.devices import send
from ood_shared.files import read_text, reading
from torch import Tensor

from mood_dpa.data.batches import Batches
from mood_dpa.data.directions import Directions
from mood_dpa.data.folds import cases_of, read_folds
from mood_dpa.data.intensities import INSIDE, Rule, range_of
from mood_dpa.data.preprocessing import area_resize, normalise, prepare_array, prepare_slices, resize_slices
from mood_dpa.data.record import Origin, read_origin
from mood_dpa.data.slice_files import INDEX, STACK, SliceFolder, cut_slices
from mood_dpa.data.volumes import case_id, list_volumes, read_volume, volume_name
from mood_dpa.settings import ImageSet
from mood_dpa.standalone import InputError, MissingFileError

__all__ = ["INDEX", "STACK", "Batches", "Images", "SliceFolder", "cut_slices"]
LOOKED_AT, VOLUMES_LOOKED_AT = 1000, 8  # files that are read before anything is written


class Images:
    """The images of a data set entry of a configuration: chosen by folds, read in batches, resized and normalised.

    Args:
        chosen: the entry.
        seed: of the choice, where there are more than `max_dataset_size`.
        rule: how intensities of volumes get to [0, 1]; of slices it was chosen when they were made, and `any-range`
            takes them as they are. None wants all values in [0, 1].

    Attributes:
        names: file names, sorted.
        size: pixels per side that they are brought to, or None.
        origin: what is known of the volumes they were made from.
    """

    def __init__(self, chosen: ImageSet, seed: int | None = None, rule: Rule | None = None) -> None:
        self.volumes, self.root, self.masks = chosen.volumes, chosen.image_root, chosen.mask_root
        self.size, self.normalised, self.channels3 = chosen.size, chosen.normalised, chosen.channels3
        cases = cases_of(read_folds(chosen.folds_path), chosen.split, chosen.fold)
        self._paths: dict[str, Path] = {}
        if self.volumes:
            if not self.root.is_dir():
                raise MissingFileError(f"image_root {self.root} is missing.")
            self._paths = {volume_name(path): path for path in list_volumes(self.root)}
            listed = list(self._paths)
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
        self.rule = rule or Rule()
        self.origin = Origin(str(self.rule)) if self.volumes else self._origin_of_slices(rule)
        self._cache: Tensor | None = None
        if chosen.cache:
            self._cache = self._read_all()

    def __len__(self) -> int:
        return len(self.names)

    def _origin_of_slices(self, rule: Rule | None) -> Origin:
        """What save_2D left beside the slices, and whether a rule by hand agrees."""
        origin = read_origin(self.root)
        if rule is None or rule.kind == "any-range":
            self.rule = rule or Rule("any-range" if origin.rescale == "any-range" else "none")
            return origin if rule is None else Origin(str(rule), origin.axes, origin.slicing)
        if str(rule) not in (origin.rescale, "none"):
            made = f"by `{origin.rescale}`" if origin.rescale else "without a record of it"
            raise InputError(
                f"{self.root} holds slices, whose intensities were rescaled {made} when they were made; --rescale is "
                f"`{rule}`. Make them again with save_2D.py --rescale, and leave the flag out here."
            )
        self.rule = Rule()
        return origin

    def look(self, directions: bool = True) -> None:
        """Read some files, spread evenly, and of volumes all headers: before a run leaves anything.

        Raises:
            InputError: names the first that is damaged, or has values outside [0, 1] that no rule brings there.
        """
        if self.volumes and directions:
            turned = Directions.of(self._paths[name] for name in self.names)
            turned.say()
            self.origin = Origin(self.origin.rescale, tuple(turned.codes))
        if self._cache is None:
            most = VOLUMES_LOOKED_AT if self.volumes else LOOKED_AT
            for position in sorted({int(i) for i in np.linspace(0, len(self) - 1, most)}):
                self.raw(position)

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
            return send(self._cache[index], device)
        arrays = list(pool.map(self.raw, index) if pool else map(self.raw, index))
        return self.prepare(arrays, device)

    def raw(self, position: int) -> npt.NDArray[np.floating]:
        """The array of one file; of a volume as the rule makes it.

        Raises:
            InputError: it cannot be read, or has values outside [0, 1] that no rule brings there.
        """
        name = self.names[position]
        if self.volumes:
            return self.rule.apply(read_volume(self.path(name)).data, str(self.path(name)))
        found = self.folder.read(name)
        low, high, place = range_of(found)
        if place != INSIDE and self.rule.kind != "any-range":
            raise InputError(
                f"{self.root / name} has values from {low:g} to {high:g}; expected [0, 1]. Make the slices again with "
                "save_2D.py --rescale minmax, percentile LOW HIGH or window CENTER WIDTH (--any-range takes them)."
            )
        return found

    def path(self, name: str) -> Path:
        """Where one of them lies."""
        return self._paths.get(name, self.root / name)

    def prepare(self, arrays: list[npt.NDArray[np.floating]], device: torch.device) -> Tensor:
        """Arrays as a batch."""
        if self.volumes:
            cubes = [send(torch.from_numpy(np.asarray(a, np.float32)), device)[None, None] for a in arrays]
            if self.size is not None:
                cubes = [area_resize(volume, [self.size] * 3) for volume in cubes]
            batch = torch.cat(cubes)
            return normalise(batch) if self.normalised else batch
        if self.channels3:
            return send(torch.stack([prepare_array(a, self.size, self.normalised, True) for a in arrays]), device)
        if len({a.shape for a in arrays}) == 1:
            return prepare_slices(send(torch.from_numpy(np.stack(arrays)), device), self.size, self.normalised)
        if self.size is None:
            raise InputError(f"{self.root} holds slices of several sizes; set transform_kwargs.resize.")
        return torch.cat(
            [prepare_slices(send(torch.from_numpy(a)[None], device), self.size, self.normalised) for a in arrays]
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


def _small_slices(path: Path, least: float) -> set[str]:
    if not path.exists():
        raise MissingFileError(f"brain_size_path {path} is missing.")
    with reading(path, "table with the columns filename and brain_size (a number)", "Correct it."):
        rows = csv.DictReader(io.StringIO(read_text(path, "a table of slices")))
        return {row["filename"] for row in rows if float(row["brain_size"]) < least}

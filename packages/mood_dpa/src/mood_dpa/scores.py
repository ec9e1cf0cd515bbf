"""The anomaly map of a volume from the model of one axis: slices, reconstructions, one map, back to the volume.

Source: Shvetsova et al. 2021 for the distance; the steps are those of the MOOD 2020 solution. A volume is read once
and stays on the device for all models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mood_dpa.checkpoints import Model
from mood_dpa.data.preprocessing import prepare_slices, trilinear
from mood_dpa.standalone import autocast
from mood_dpa.vgg import images_at_once

SMALL_AREA = 4000.0  # sum of intensities that a slice must exceed to be looked at
DIVISOR = 100.0  # of averaged maps, so that usual values lie below 1
BACK = {0: (0, 1, 2), 1: (1, 0, 2), 2: (1, 2, 0)}  # from (slice, row, column) to the axes of the volume


@dataclass(frozen=True)
class SliceSelection:
    """Which slices are looked at, and how.

    Attributes:
        skip_small: leave out slices whose intensities sum to no more than `small_area`.
        small_area: sum of intensities in [0, 1].
        size: pixels per side of the slices that the networks get.
        precision: of the networks.
    """

    skip_small: bool
    size: int | None
    small_area: float = SMALL_AREA
    precision: str = "fp32"

    def of(self, slices: Tensor) -> Tensor:
        """Which of the slices (n, h, w) are looked at, as indices (k,)."""
        every = torch.arange(len(slices), device=slices.device)
        if not self.skip_small:
            return every
        return every[slices.sum(dim=(1, 2), dtype=torch.float64) > self.small_area]


def unseen(volume: Tensor, parts: Iterable[tuple[int, SliceSelection]], name: str) -> str:
    """A line about a volume of which fewer than half of the slices, or none, are looked at; else empty.

    Args:
        volume: (n0, n1, n2) in [0, 1].
        parts: axis and selection of each model.
        name: of the volume.
    """
    chosen = [(axis, selection, len(selection.of(volume.movedim(axis, 0)))) for axis, selection in parts]
    seen, total = sum(count for *_, count in chosen), sum(volume.shape[axis] for axis, *_ in chosen)
    if 2 * seen >= total:
        return ""
    shown = ", ".join(f"{count} of {volume.shape[axis]} along axis {axis}" for axis, _, count in chosen)
    limits = " and ".join(sorted({f"{selection.small_area:g}" for _, selection, _ in chosen}))
    if not seen:
        most = max(float(volume.sum(dim=[a for a in range(3) if a != axis]).max()) for axis, *_ in chosen)
        return (
            f"{name}: no slice is looked at ({shown}): none has a sum of intensities above small_area ({limits}; the "
            f"greatest is {most:.4g}). Its map is zeros; lower small_area in the configuration."
        )
    return (
        f"{name}: fewer than half of the slices are looked at ({shown}), those with a sum of intensities above "
        f"small_area ({limits}); the others are zeros in its map."
    )


@torch.inference_mode()
def axis_map(volume: Tensor, model: Model, axis: int, selection: SliceSelection, target: tuple[int, ...]) -> Tensor:
    """Anomaly map of a volume along one axis.

    The relative error is normalised over all slices that are looked at, so leaving some out changes every value.
    Skipped slices are 0 at their own place (the published program moved the slices behind a gap up).

    Args:
        volume: float32 (n0, n1, n2) in [0, 1], on the model's device.
        model: with its loss in 3D mode and reduction `pixelwise`.
        axis: the slicing axis.
        selection: choice and size of slices.
        target: size to bring the map to.

    Returns:
        float32 of size `target`, not negative; zeros when no slice is looked at.
    """
    slices = volume.movedim(axis, 0)
    chosen = selection.of(slices)
    if not len(chosen):
        return volume.new_zeros(target)
    images = prepare_slices(slices[chosen], selection.size)  # (k, 1, r, r)
    if volume.device.type == "cuda":
        images = images.contiguous(memory_format=torch.channels_last)
    with autocast(volume.device, selection.precision):
        rebuilt = torch.cat([model.reconstruct(part) for part in images.split(images_at_once(images))]).float()
        maps = volume_map(model, images, rebuilt)  # (k, r, r)
    whole = maps.new_zeros(len(slices), *maps.shape[1:])
    whole[chosen] = maps
    return trilinear(whole.permute(BACK[axis]).contiguous(), target)


def volume_map(model: Model, images: Tensor, rebuilt: Tensor) -> Tensor:
    """The map (k, r, r) of slices (k, 1, r, r) as one volume."""
    maps: Tensor = model.loss(images.transpose(0, 1)[None], rebuilt.transpose(0, 1)[None])
    return maps[0, 0].float()


def combine(maps: list[Tensor], divisor: float = DIVISOR) -> Tensor:
    """Mean of the maps that are positive at a voxel, divided by 100 so that usual values lie below 1.

    A voxel that only one axis looked at keeps that axis's value: this is the documented rule of the solution.
    """
    total, count = maps[0].clone(), (maps[0] > 0).to(maps[0].dtype)
    for other in maps[1:]:
        total += other
        count += other > 0
    return total / count.clamp_min(1) / divisor

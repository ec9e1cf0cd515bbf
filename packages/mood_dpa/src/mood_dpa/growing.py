"""Progressive growing: the order of the stages, and images at the resolution of a stage.

Source: Karras et al., Progressive Growing of GANs, ICLR 2018; applied to this autoencoder in Shvetsova et al. 2021.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mood_dpa.settings import LoopSettings
from mood_dpa.standalone import InputError


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        kind: `stab` or `trns`.
        resolution: pixels per side.
        length: iterations, T.
    """

    kind: str
    resolution: int
    length: int


def plan_stages(
    initial: int, highest: int, trns_iter: int, stab_iter: int, iters_per_res: Mapping[Any, Any] | None = None
) -> list[Stage]:
    """(stab, R0), (trns, 2 R0), (stab, 2 R0), … (stab, highest); stages of length 0 are left out.

    Args:
        initial: first resolution, a power of 2.
        highest: last resolution.
        trns_iter: iterations of a transition.
        stab_iter: iterations of a stabilisation.
        iters_per_res: {resolution: {"trns": n, "stab": n}} replaces them.

    Raises:
        InputError: resolutions that are no powers of 2, or an odd entry in `iters_per_res`.
    """
    for name, value in (("initial_image_res", initial), ("max_image_res", highest)):
        if not isinstance(value, int) or value < 1 or value & (value - 1):
            raise InputError(f"{name} is {value!r}; it must be a power of 2.")
    if initial > highest:
        raise InputError(f"initial_image_res {initial} is above max_image_res {highest}.")
    own = _own_lengths(iters_per_res or {})
    stages, res = [], initial
    while res <= highest:
        for kind, usual in (("trns", trns_iter), ("stab", stab_iter)):
            length = own.get((res, kind), usual)
            if (kind == "stab" or res > initial) and length > 0:
                stages.append(Stage(kind, res, length))
        res *= 2
    if not stages:
        raise InputError("Every stage has length 0; raise stab_iter.")
    return stages


def plan_of(settings: LoopSettings) -> list[Stage]:
    """The stages of a training."""
    ends = (settings.initial_image_res, settings.max_image_res)
    return plan_stages(*ends, settings.trns_iter, settings.stab_iter, settings.iters_per_res)


def _own_lengths(entries: Mapping[Any, Any]) -> dict[tuple[int, str], int]:
    own = {}
    for res, lengths in entries.items():
        if not isinstance(lengths, Mapping):
            raise InputError(f"iters_per_res: the entry of {res} is {lengths!r}; expected {{trns: n, stab: n}}.")
        for kind, length in lengths.items():
            if kind not in ("trns", "stab"):
                raise InputError(f"iters_per_res: {res} has `{kind}`; known are trns and stab.")
            own[int(res), str(kind)] = int(length)
    return own


def mix_resolution(images: Tensor, highest: int, resolution: int, stage: str, progress: float) -> Tensor:
    """Images of the highest resolution as a stage sees them.

    Bilinear (trilinear) without antialiasing, as published: a factor of 1/2 is the mean of 2 x 2, smaller factors the
    mean of the central 2 x 2.

    Args:
        images: (n, c, M, M) or (n, c, M, M, M).
        highest: M.
        resolution: R of the stage.
        stage: in `trns`, (1 - progress) of the images at R/2, enlarged by repetition, and progress of those at R.
        progress: in [0, 1].
    """
    high = _scaled(images, resolution / highest)
    if stage != "trns":
        return high
    low = F.interpolate(_scaled(images, resolution / 2 / highest), scale_factor=2, mode="nearest")
    return (1 - progress) * low + progress * high


def images_of_stage(images: Tensor, highest: int, stage: Stage, progress: float) -> Tensor:
    """Images of the highest resolution as a stage sees them, in the memory format of its networks."""
    mixed = mix_resolution(images, highest, stage.resolution, stage.kind, progress)
    if mixed.device.type == "cuda" and mixed.ndim == 4:
        mixed = mixed.contiguous(memory_format=torch.channels_last)
    return mixed


def effective_resolution(stage: str, resolution: int, progress: float) -> float:
    """Resolution between R/2 and R, by progress."""
    return float(resolution) if stage == "stab" else resolution * progress + resolution / 2 * (1 - progress)


def _scaled(images: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return images
    mode = "bilinear" if images.ndim == 4 else "trilinear"
    return F.interpolate(images, scale_factor=factor, mode=mode, align_corners=False, recompute_scale_factor=False)

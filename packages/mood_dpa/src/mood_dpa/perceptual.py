"""The perceptual distance of a slice x and its reconstruction y, as a number and as a map.

Source: Shvetsova et al., IEEE Access 2021 (arXiv 2006.13265), eq. 1-2. With f_l the output of VGG19 layer l and
rho(t) = |t| (or t^2),

    d_l(x, y) = mean over c,h,w of rho(f_l(x) - f_l(y)) / mean over c,h,w of rho(f_l(x))

The map keeps h and w in the numerator only. For a volume, cut into slices along an axis, the denominator is the mean
over all its slices: one number for the volume, so that the maps of its slices can be compared.

An image without any feature, a black slice in a network without biases, has no relative distance: the mean over a
batch, which training takes, leaves it out. The other reductions divide by the smallest positive number then.

Everything follows from two things of each slice: the numerator's mean over channels (n, h, w) and the denominator (n,).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mood_dpa.kinds import check_kinds, check_layer_weights
from mood_dpa.standalone import InputError, unknown
from mood_dpa.vgg import VGG19, check_layers, images_at_once
from mood_dpa.vgg_weights import load_features

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REDUCTIONS = ("none", "mean", "sum", "pixelwise")
IMAGE = "image"  # name of the term that compares the slices themselves
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Weights:
    """Weights of the terms at one resolution."""

    img_weight: float
    feature_weights: Mapping[str, float]

    def terms(self) -> dict[str, float]:
        """Weight by term; terms of weight 0 are not computed.

        Raises:
            InputError: nothing is left.
        """
        image = {IMAGE: self.img_weight} if self.img_weight else {}
        weights = {**image, **{k: w for k, w in self.feature_weights.items() if w}}
        if not weights:
            raise InputError("The loss has no term: img_weight is 0 and feature_weights names no layer.")
        return weights


class PerceptualLoss(nn.Module):
    """Distance of images x (real, first) and y (reconstructed) in the layers that `weights_per_resolution` names.

    Attributes:
        resolution, stage, progress: of the growing; the weights of `resolution` count.
    """

    def __init__(
        self,
        weights_per_resolution: Mapping[Any, Mapping[str, Any]],
        reduction: str = "mean",
        use_L1_norm: bool = False,
        use_relative_error: bool = False,
        use_smooth_pg: bool = False,
        pad_type: str = "zero",
        path_to_vgg19_weights: str | Path | None = None,
        normalize_to_vgg_input: bool = True,
        imagenet_pretrained: bool = False,
        mode_3d: bool = False,
        mode_3d_apply_along_axes: Sequence[int] = (0,),
        features: VGG19 | None = None,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.weights = {int(res): _weights(res, entry) for res, entry in weights_per_resolution.items()}
        self.reduction, self.absolute, self.relative = reduction, use_L1_norm, use_relative_error
        self.smooth, self.normalise = use_smooth_pg, normalize_to_vgg_input
        self.volumes, self.axes = mode_3d, tuple(mode_3d_apply_along_axes)
        self.resolution: int | None = max(self.weights) if len(self.weights) == 1 else None
        self.stage, self.progress = "stab", 0.0
        if features is None and any(w.feature_weights for w in self.weights.values()):
            features = load_features(path_to_vgg19_weights, imagenet_pretrained, pad_type)
        self.model = features
        self.register_buffer("_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def set_stage(self, stage: str, resolution: int) -> None:
        """Enter a stage; its progress starts at 0."""
        self.stage, self.resolution, self.progress = stage, resolution, 0.0

    def set_progress(self, progress: float) -> None:
        """Progress of the stage, in [0, 1]."""
        self.progress = float(progress)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance.

        Args:
            x: real images (n, c, h, w), in 3D mode volumes (n, 1, d, h, w); about [-1, 1].
            y: their reconstructions.

        Returns:
            (n,) for reduction `none`, a number for `mean` and `sum`, (n, 1, …) for `pixelwise`.

        Raises:
            InputError: `pixelwise` with more than one term; no weights for the resolution.
        """
        weights = self.weights_of(self.resolution)
        if not (self.smooth and self.stage == "trns" and self.progress < 1):
            return self._reduce(*self._distance(x, y, weights))
        if self.reduction == "pixelwise":
            raise InputError("use_smooth_pg has no pixel map inside a transition.")
        assert self.resolution is not None
        mode = "bilinear" if x.ndim == 4 else "trilinear"
        low_x, low_y = (F.interpolate(t, scale_factor=0.5, mode=mode, align_corners=False) for t in (x, y))
        low, kept_low = self._distance(low_x, low_y, self.weights_of(self.resolution // 2))
        high, kept_high = self._distance(x, y, weights)
        return self._reduce((1 - self.progress) * low + self.progress * high, kept_low & kept_high)

    def weights_of(self, resolution: int | None) -> dict[str, float]:
        """Weight by term at a resolution.

        Raises:
            InputError: there is no entry for it, or one without a term.
        """
        if resolution not in self.weights:
            raise InputError(
                f"weights_per_resolution has no entry for resolution {resolution}, only {sorted(self.weights)}."
            )
        return self.weights[resolution].terms()

    def _distance(self, x: Tensor, y: Tensor, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
        """(n,), or the map (n, 1, …), and which of the n have something to be relative to."""
        maps = self.reduction == "pixelwise"
        if maps and len(weights) != 1:
            raise InputError(f"A pixel map needs exactly one term; the loss has {', '.join(weights)}.")
        if not self.volumes:
            return self._combine(self._terms(x, y, weights), weights, x.shape[0], 1, x.shape[-2:] if maps else None)
        total: Tensor | None = None
        kept = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for axis in self.axes:
            n, _, *_ = x.shape
            turned_x, turned_y = (t[:, 0].transpose(1, axis + 1) for t in (x, y))  # the axis first
            depth, size = turned_x.shape[1], turned_x.shape[2:]
            flat_x, flat_y = (t.reshape(n * depth, 1, *size) for t in (turned_x, turned_y))
            terms = self._terms(flat_x, flat_y, weights)
            distance, here = self._combine(terms, weights, n, depth, size if maps else None)
            kept = kept & here
            if maps:
                distance = distance.reshape(n, depth, *size).transpose(1, axis + 1).unsqueeze(1)
            total = distance if total is None else total + distance
        assert total is not None
        return total / len(self.axes), kept

    def _combine(
        self,
        terms: dict[str, tuple[Tensor, Tensor]],
        weights: dict[str, float],
        n: int,
        depth: int,
        size: torch.Size | None,
    ) -> tuple[Tensor, Tensor]:
        """Weighted mean of the terms over n images of `depth` slices: (n,), or with a size the map.

        Beside it (n,): false where the denominator of a term is 0, as for black slices in a network without biases.
        """
        total: Tensor | None = None
        kept = torch.ones(n, dtype=torch.bool, device=terms[next(iter(weights))][0].device)
        for name, weight in weights.items():
            numerator, denominator = terms[name]
            if self.relative:
                per_image = denominator.view(n, depth).mean(1).detach()
                if self.reduction == "mean":
                    kept = kept & (per_image != 0)
                    blank = (per_image == 0).repeat_interleave(depth).view(-1, 1, 1)
                    numerator = numerator.masked_fill(blank, 0)  # else 0 times a gradient of 1e38
                numerator = numerator / per_image.clamp_min(TINY).repeat_interleave(depth).view(-1, 1, 1)
            if size is None:
                term = weight * numerator.view(n, -1).mean(1)
            else:
                grid = numerator.unsqueeze(1)
                term = weight * F.interpolate(grid, size=tuple(size), mode="bilinear", align_corners=False)
            total = term if total is None else total + term
        assert total is not None
        return total / sum(weights.values()), kept

    def _terms(self, x: Tensor, y: Tensor, weights: dict[str, float]) -> dict[str, tuple[Tensor, Tensor]]:
        """For each term the numerator's mean over channels (n, h, w) and the denominator (n,), in float32."""
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        if IMAGE in weights:
            terms[IMAGE] = self._compare(x, y)
        layers = [name for name in weights if name != IMAGE]
        if layers:
            count = images_at_once(x)
            parts = [self._layer_terms(a, b, layers) for a, b in zip(x.split(count), y.split(count), strict=True)]
            for name in layers:
                numerators, denominators = zip(*(part[name] for part in parts), strict=True)
                terms[name] = torch.cat(numerators), torch.cat(denominators)
        return terms

    def _layer_terms(self, x: Tensor, y: Tensor, layers: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
        assert self.model is not None
        if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
            # The gradient needs y's activations only; in one pass it would be computed for x as well, to no use.
            with torch.set_grad_enabled(x.requires_grad):
                of_x = self.model(self._input(x), layers)
            of_y = self.model(self._input(y), layers)
            return {name: self._compare(of_x[name], of_y[name]) for name in layers}
        both = self.model(self._input(torch.cat([x, y.to(x.dtype)])), layers)
        halves = {name: both[name].chunk(2) for name in layers}
        return {name: self._compare(of_x, of_y) for name, (of_x, of_y) in halves.items()}

    def _input(self, x: Tensor) -> Tensor:
        """Images of about [-1, 1] as VGG19 takes them."""
        u = 0.5 * x + 0.5
        if not self.normalise:
            return u if u.shape[1] in (1, 3) else u.repeat(1, 3, 1, 1)
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        return (u.expand(-1, 3, -1, -1) - mean) / std

    def _compare(self, fx: Tensor, fy: Tensor) -> tuple[Tensor, Tensor]:
        fx, fy = fx.float(), fy.float()
        error, size = (fx - fy), fx
        if self.absolute:
            return error.abs().mean(1), size.detach().abs().mean((1, 2, 3))
        return error.square().mean(1), size.detach().square().mean((1, 2, 3))

    def _reduce(self, values: Tensor, kept: Tensor) -> Tensor:
        """As `reduce_values`; the mean is over the images that are kept, 0 when none is."""
        if self.reduction == "mean" and self.relative:
            return values.masked_fill(~kept, 0).sum() / kept.sum().clamp_min(1)
        return reduce_values(values, self.reduction)


def reduce_values(values: Tensor, reduction: str) -> Tensor:
    """Values of images as a reduction wants them: `mean`, `sum`, or as they are."""
    if reduction == "mean":
        return values.mean()
    return values.sum() if reduction == "sum" else values


def check_reduction(reduction: str) -> None:
    """Refuse an unknown reduction."""
    if reduction not in REDUCTIONS:
        raise unknown("reduction", str(reduction), REDUCTIONS)


def _weights(res: Any, entry: Mapping[str, Any]) -> Weights:
    for name in entry:
        if name not in ("img_weight", "feature_weights"):
            raise unknown(f"weights_per_resolution, {res}:", name, ("img_weight", "feature_weights"))
    check_kinds(entry, f"weights_per_resolution, {res}")
    layers = dict(entry.get("feature_weights") or {})
    if layers:
        check_layers(layers)
        check_layer_weights(layers, f"weights_per_resolution, {res}")
    return Weights(float(entry.get("img_weight", 0)), {str(k): float(w) for k, w in layers.items()})

"""losses, random_vgg_features: VGG19, the distances and their maps."""

import itertools
from functools import cache, partial

import numpy as np
import pytest
import torch
from mood_dpa.losses import make_loss
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.vgg_weights import random_weights
from ood_shared.testing.golden import Entries, check_each, stems

from .conftest import GOLDEN, rule_features

ARRAYS = GOLDEN.npz("losses")
SETTINGS = {entry["id"]: entry for entry in GOLDEN.json("losses") if "id" in entry}
FIXED = GOLDEN.json("losses")[-1]
RTOL = 2e-4
R32 = {"img_weight": 0, "feature_weights": {"r32": 1}}
RELATIVE = {"use_L1_norm": True, "use_relative_error": True}


def tensor(key: str) -> torch.Tensor:
    return torch.from_numpy(ARRAYS[key])


def loss_of(entry: dict, resolution: int = 1, **kwargs: object) -> PerceptualLoss:
    if not isinstance(entry, Entries):  # those of the vectors have every setting
        entry = RELATIVE | {"normalize_to_vgg_input": False, "pad_type": "zero"} | entry
    weights = {resolution: {k: entry[k] for k in ("img_weight", "feature_weights")}}
    return PerceptualLoss(
        weights,
        use_L1_norm=entry["use_L1_norm"],
        use_relative_error=entry["use_relative_error"],
        normalize_to_vgg_input=entry["normalize_to_vgg_input"],
        features=rule_features(entry["pad_type"]),
        **kwargs,  # type: ignore[arg-type]
    )


def close(found: torch.Tensor, want: np.ndarray, of_max: bool = False) -> None:
    atol = RTOL * np.abs(want).max() if of_max else 1e-12
    np.testing.assert_allclose(found.detach(), want, rtol=RTOL, atol=atol)


def close_to_max(found: torch.Tensor, want: np.ndarray) -> None:
    close(found, want, of_max=True)


def layer_of(name: str) -> torch.Tensor:
    pad, layer = name.split("/")
    with torch.no_grad():
        return rule_features(pad)(tensor("feat/x"), [layer])[layer]


LAYERS = sorted(
    {key.removeprefix("feat/").removesuffix("/mean_abs") for key in ARRAYS if key.startswith("feat/")} - {"x"}
)


@pytest.mark.parametrize("name", LAYERS)
def test_vgg_layers_agree(name: str) -> None:
    found, want = layer_of(name), ARRAYS[f"feat/{name}"]
    close_to_max(found if want.shape == tuple(found.shape) else found[:, ::8], want)


@pytest.mark.parametrize("name", LAYERS)
def test_mean_absolute_values_of_vgg_layers_agree(name: str) -> None:
    close(layer_of(name).abs().mean((1, 2, 3)), ARRAYS[f"feat/{name}/mean_abs"])


@pytest.mark.parametrize("ident", sorted(SETTINGS))
def test_losses_agree(ident: int) -> None:
    x, y, found = tensor("x"), tensor("y"), {}
    with torch.no_grad():
        for reduction in ("none", "mean", "sum"):
            found[f"loss/{ident}/{reduction}"] = loss_of(SETTINGS[ident], reduction=reduction)(x, y)
        found[f"loss/{ident}/none_swapped"] = loss_of(SETTINGS[ident], reduction="none")(y, x)
    check_each(ARRAYS, found, close)


def test_image_term_alone_agrees() -> None:
    entry = FIXED["fixed_settings"]["loss_img_only"]
    close(loss_of(entry, reduction="none")(tensor("x"), tensor("y")), ARRAYS["loss_img_only/none"])


def test_gradient_agrees() -> None:
    y = tensor("y").requires_grad_()
    loss_of(R32)(tensor("x"), y).backward()
    assert y.grad is not None
    close(y.grad, ARRAYS["grad/r32_mean_wrt_y"], of_max=True)


@pytest.mark.parametrize("layer", stems(ARRAYS, "map3d/*/map", "map3d/*/none"))
def test_volume_maps_agree(layer: str) -> None:
    entry = {"img_weight": 0, "feature_weights": {layer: 1}}
    x, y = tensor("map3d/x"), tensor("map3d/y")
    with torch.no_grad():
        found = {word: loss_of(entry, reduction=word, mode_3d=True)(x, y) for word in ("pixelwise", "none")}
    check_each(ARRAYS, {f"map3d/{layer}/map": found["pixelwise"], f"map3d/{layer}/none": found["none"]}, close_to_max)


@pytest.mark.parametrize("layer", stems(ARRAYS, "map2d/*/map"))
def test_slice_maps_agree(layer: str) -> None:
    x, y = (tensor(f"map3d/{name}")[0, 0][:, None] for name in "xy")
    entry = {"img_weight": 0, "feature_weights": {layer: 1}}
    with torch.no_grad():
        close(loss_of(entry, reduction="pixelwise")(x, y), ARRAYS[f"map2d/{layer}/map"], of_max=True)


def along(axes: str, reduction: str) -> torch.Tensor:
    options = {"mode_3d": True, "mode_3d_apply_along_axes": [int(a) for a in axes]}
    with torch.no_grad():
        return loss_of(R32, reduction=reduction, **options)(tensor("cube/x"), tensor("cube/y"))


AXES = stems(ARRAYS, "cube/axes*/none", "cube/axes*/map_sub")


@pytest.mark.parametrize("axes", AXES)
def test_maps_along_other_axes_agree(axes: str) -> None:
    close_to_max(along(axes, "pixelwise")[:, :, ::4, ::4, ::4], ARRAYS[f"cube/axes{axes}/map_sub"])


@pytest.mark.parametrize("axes", AXES)
def test_losses_along_other_axes_agree(axes: str) -> None:
    close(along(axes, "none"), ARRAYS[f"cube/axes{axes}/none"])


def grown() -> list[str]:
    """FLAG/STAGE/pP in every combination of those that occur."""
    parts = [name.split("/") for name in stems(ARRAYS, "pg_smooth/*")]
    return sorted(map("/".join, itertools.product(*map(set, zip(*parts, strict=True)))))


@pytest.mark.parametrize("case", grown())
def test_smooth_growing_agrees(case: str) -> None:
    flag, stage, progress = case.split("/")
    x, y = tensor("x"), tensor("y")
    weights = FIXED["pg_smooth_weights_per_resolution"]
    loss = PerceptualLoss(
        {int(k): v for k, v in weights.items()},
        reduction=FIXED["pg_smooth_reduction"],
        use_smooth_pg=flag == "1",
        normalize_to_vgg_input=FIXED["normalize_to_vgg_input"],
        features=rule_features(),
        **RELATIVE,  # type: ignore[arg-type]
    )
    loss.set_stage(stage, x.shape[-1])
    loss.set_progress(float(progress.removeprefix("p")))
    with torch.no_grad():
        close(loss(x, y), ARRAYS[f"pg_smooth/{case}"])


@pytest.mark.parametrize(  # the original's l2 is never wanted by pixel; another file may hold it
    ("kind", "reduction"),
    [
        (kind, reduction)
        for kind, reduction in itertools.product(("l1", "l2"), ("none", "mean", "sum", "pixelwise"))
        if (kind, reduction) != ("l2", "pixelwise") or "l2/pixelwise" in ARRAYS
    ],
)
def test_plain_losses_agree(kind: str, reduction: str) -> None:
    close(make_loss(kind, {"reduction": reduction})(tensor("x"), tensor("y")), ARRAYS[f"{kind}/{reduction}"])


RANDOM = GOLDEN.json("random_vgg_features")
drawn = cache(random_weights)


@pytest.mark.parametrize("key", [*drawn(), *(key for key in RANDOM if key not in drawn())])
def test_random_features_are_the_published_ones(key: str) -> None:
    entry, value = RANDOM[key], drawn()[key].double()
    found = {"shape": list(value.shape), "first4": value.flatten()[:4], "abs_sum": value.abs().sum()}
    check_each(entry, found, partial(np.testing.assert_allclose, rtol=1e-5))
    np.testing.assert_allclose(value.sum(), entry["sum"], rtol=1e-5, atol=1e-5 * entry["abs_sum"])

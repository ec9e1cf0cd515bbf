"""losses, random_vgg_features: VGG19, the distances and their maps."""

import itertools

import numpy as np
import pytest
import torch
from mood_dpa.losses import make_loss
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.vgg_weights import random_weights
from ood_shared.testing.golden import names

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
    weights = {resolution: {k: entry[k] for k in ("img_weight", "feature_weights")}}
    return PerceptualLoss(
        weights,
        use_L1_norm=entry.get("use_L1_norm", True),
        use_relative_error=entry.get("use_relative_error", True),
        normalize_to_vgg_input=entry.get("normalize_to_vgg_input", False),
        features=rule_features(entry.get("pad_type", "zero")),
        **kwargs,  # type: ignore[arg-type]
    )


def close(found: torch.Tensor, want: np.ndarray, of_max: bool = False) -> None:
    atol = RTOL * np.abs(want).max() if of_max else 1e-12
    np.testing.assert_allclose(found.detach(), want, rtol=RTOL, atol=atol)


@pytest.mark.parametrize("name", names(ARRAYS, "feat/*/mean_abs"))
def test_vgg_layers_agree(name: str) -> None:
    pad, layer = name.split("/")
    with torch.no_grad():
        found = rule_features(pad)(tensor("feat/x"), [layer])[layer]
    want = ARRAYS[f"feat/{name}"]
    close(found.abs().mean((1, 2, 3)), ARRAYS[f"feat/{name}/mean_abs"])
    if want.shape != tuple(found.shape):
        found = found[:, ::8]
    close(found, want, of_max=True)


@pytest.mark.parametrize("ident", sorted(SETTINGS))
def test_losses_agree(ident: int) -> None:
    x, y = tensor("x"), tensor("y")
    for reduction in ("none", "mean", "sum"):
        with torch.no_grad():
            close(loss_of(SETTINGS[ident], reduction=reduction)(x, y), ARRAYS[f"loss/{ident}/{reduction}"])
    with torch.no_grad():
        close(loss_of(SETTINGS[ident], reduction="none")(y, x), ARRAYS[f"loss/{ident}/none_swapped"])


def test_image_term_alone_agrees() -> None:
    entry = {**FIXED["fixed_settings"]["loss_img_only"]}
    close(loss_of(entry, reduction="none")(tensor("x"), tensor("y")), ARRAYS["loss_img_only/none"])


def test_gradient_agrees() -> None:
    y = tensor("y").requires_grad_()
    loss_of(R32)(tensor("x"), y).backward()
    assert y.grad is not None
    close(y.grad, ARRAYS["grad/r32_mean_wrt_y"], of_max=True)


@pytest.mark.parametrize("layer", names(ARRAYS, "map3d/*/map"))
def test_volume_maps_agree(layer: str) -> None:
    entry = {"img_weight": 0, "feature_weights": {layer: 1}}
    x, y = tensor("map3d/x"), tensor("map3d/y")
    with torch.no_grad():
        close(loss_of(entry, reduction="pixelwise", mode_3d=True)(x, y), ARRAYS[f"map3d/{layer}/map"], of_max=True)
        close(loss_of(entry, reduction="none", mode_3d=True)(x, y), ARRAYS[f"map3d/{layer}/none"])


def test_slice_maps_agree() -> None:
    x, y = (tensor(f"map3d/{name}")[0, 0][:, None] for name in "xy")
    layer = names(ARRAYS, "map2d/*/map")[0]
    entry = {"img_weight": 0, "feature_weights": {layer: 1}}
    with torch.no_grad():
        close(loss_of(entry, reduction="pixelwise")(x, y), ARRAYS[f"map2d/{layer}/map"], of_max=True)


@pytest.mark.parametrize("axes", names(ARRAYS, "cube/axes*/none", "cube/axes*/map_sub"))
def test_maps_along_other_axes_agree(axes: str) -> None:
    x, y = tensor("cube/x"), tensor("cube/y")
    options = {"mode_3d": True, "mode_3d_apply_along_axes": [int(a) for a in axes]}
    with torch.no_grad():
        found = loss_of(R32, reduction="pixelwise", **options)(x, y)
        close(found[:, :, ::4, ::4, ::4], ARRAYS[f"cube/axes{axes}/map_sub"], of_max=True)
        close(loss_of(R32, reduction="none", **options)(x, y), ARRAYS[f"cube/axes{axes}/none"])


@pytest.mark.parametrize("case", names(ARRAYS, "pg_smooth/*"))
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


@pytest.mark.parametrize(
    ("kind", "reduction"),
    [(k, r) for k, r in itertools.product(("l1", "l2"), ("none", "mean", "sum", "pixelwise")) if f"{k}/{r}" in ARRAYS],
)
def test_plain_losses_agree(kind: str, reduction: str) -> None:
    close(make_loss(kind, {"reduction": reduction})(tensor("x"), tensor("y")), ARRAYS[f"{kind}/{reduction}"])


def test_random_features_are_the_published_ones() -> None:
    want, found = GOLDEN.json("random_vgg_features"), random_weights()
    for key, entry in want.items():
        value = found[key].double()
        assert list(value.shape) == entry["shape"]
        np.testing.assert_allclose(value.flatten()[:4], entry["first4"], rtol=1e-5)
        np.testing.assert_allclose(value.abs().sum(), entry["abs_sum"], rtol=1e-5)
        np.testing.assert_allclose(value.sum(), entry["sum"], rtol=1e-5, atol=1e-5 * entry["abs_sum"])

"""networks, state_dict_shipped, mix_resolution: the autoencoder of every stage."""

import numpy as np
import pytest
import torch
from mood_dpa.growing import mix_resolution
from mood_dpa.layers import Layers
from mood_dpa.networks import DecoderFamily, EncoderFamily
from ood_shared.testing.golden import Golden, check_each

from .conftest import GOLDEN, fill

CASES = GOLDEN.json("networks")
STAGES = [(case["name"], stage) for case in CASES for stage in case["nets"]]
ARRAYS = GOLDEN.npz("networks")
PROGRESS = sorted({float(key.split("/alpha")[1].split("/")[0]) for key in ARRAYS if "/alpha" in key})
RUNS = [
    (name, stage, alpha)
    for name, stage in STAGES
    for alpha in (PROGRESS if stage.startswith("trns") else [None])
    if any(key.startswith(f"{name}/{stage}/") for key in ARRAYS)  # the file need not hold every stage
]
MIXED = GOLDEN.npz("mix_resolution")


def build(case: dict, stage: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    kind, res = stage.split("_")
    common = {"latent_res": case["latent_res"], "latent_dim": case["latent_dim"], "image_dim": case["image_dim"]}
    layers = Layers(case["norm"], case["pad_type"])
    encoders = EncoderFamily(case["type"], case["enc_inner_dims"], **common, layers=layers, pool=case["pool"])
    decoders = DecoderFamily(case["type"], case["dec_inner_dims"], **common, layers=layers)
    return encoders.net(kind, int(res)), decoders.net(kind, int(res))


def case_of(name: str) -> dict:
    return next(case for case in CASES if case["name"] == name)


def keys_and_shapes(net: torch.nn.Module) -> list:
    return [[key, list(entry.shape)] for key, entry in net.state_dict().items()]


def trainable(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_keys_shapes_and_counts_are_the_published_ones(name: str, stage: str) -> None:
    case = case_of(name)
    encoder, decoder = build(case, stage)
    check_each(case["nets"][stage], described(encoder, decoder), equal)


def described(encoder: torch.nn.Module, decoder: torch.nn.Module) -> dict:
    nets = {"enc": encoder, "dec": decoder}
    return {key: keys_and_shapes(net) for key, net in nets.items()} | {
        f"{key}_params": trainable(net) for key, net in nets.items()
    }


def equal(found: object, expected: object) -> None:
    assert found == expected


@pytest.mark.parametrize(("name", "stage", "alpha"), RUNS)
def test_outputs_agree(name: str, stage: str, alpha: float | None) -> None:
    encoder, decoder = (fill(net).eval() for net in build(case_of(name), stage))
    prefix = f"{name}/{stage}"
    x = torch.from_numpy(ARRAYS[f"{prefix}/x"])
    if alpha is not None:
        prefix += f"/alpha{alpha}"
        for net in (encoder, decoder):
            net.set_progress(alpha)
    with torch.no_grad():
        z = encoder(x)
        y = decoder(z)
    check_each(ARRAYS, {f"{prefix}/z": z, f"{prefix}/y": y}, near)


def near(found: torch.Tensor, want: np.ndarray) -> None:
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("size", sorted(GOLDEN.json("state_dict_shipped")))
def test_shipped_sizes_have_the_published_keys(size: str, golden: Golden) -> None:
    res, dims, latent = (int("".join(filter(str.isdigit, word))) for word in size.split("_"))
    inner = [dims] * (res.bit_length() - 1)
    args = ("residual9", inner, 1, latent, 1, Layers())
    encoder, decoder = EncoderFamily(*args).net("stab", res), DecoderFamily(*args).net("stab", res)
    check_each(golden.json("state_dict_shipped")[size], described(encoder, decoder), equal)


def mixtures() -> list[str]:
    """Every resolution, stable and at every progress of a transition; and what there is in three dimensions."""
    parts = [key.split("_") for key in MIXED if key.startswith(("stab_", "trns_"))]
    sizes = {res for _, res, *_ in parts}
    progress = {alpha for _, _, *rest in parts for alpha in rest}
    expected = {f"stab_{res}" for res in sizes} | {f"trns_{res}_{alpha}" for res in sizes for alpha in progress}
    return sorted(expected | {key for key in MIXED if key.startswith(("stab", "trns"))})


@pytest.mark.parametrize("key", mixtures())
def test_resolution_mixer_agrees(key: str) -> None:
    kind, res, *alpha = key.split("_")
    x = torch.from_numpy(MIXED["x3d" if kind.endswith("3d") else "x"])
    progress = float(alpha[0].removeprefix("alpha")) if alpha else 1.0
    found = mix_resolution(x, x.shape[-1], int(res), kind.removesuffix("3d"), progress)
    np.testing.assert_allclose(found, MIXED[key], rtol=0, atol=1e-6)

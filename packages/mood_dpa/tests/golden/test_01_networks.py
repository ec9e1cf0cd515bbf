"""networks, state_dict_shipped, mix_resolution: the autoencoder of every stage."""

import numpy as np
import pytest
import torch
from mood_dpa.growing import mix_resolution
from mood_dpa.layers import Layers
from mood_dpa.networks import DecoderFamily, EncoderFamily
from ood_shared.testing.golden import Golden, names

from .conftest import GOLDEN, fill

CASES = GOLDEN.json("networks")
STAGES = [(case["name"], stage) for case in CASES for stage in case["nets"]]


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
    want = case["nets"][stage]
    assert keys_and_shapes(encoder) == want["enc"]
    assert keys_and_shapes(decoder) == want["dec"]
    assert (trainable(encoder), trainable(decoder)) == (want["enc_params"], want["dec_params"])


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_outputs_agree(name: str, stage: str, golden: Golden) -> None:
    arrays = golden.npz("networks")
    encoder, decoder = (fill(net).eval() for net in build(case_of(name), stage))
    x = torch.from_numpy(arrays[f"{name}/{stage}/x"])
    prefixes = {k.rsplit("/", 1)[0] for k in arrays if k.startswith(f"{name}/{stage}/") and k.endswith("/z")}
    assert prefixes
    for prefix in prefixes:
        if "alpha" in prefix:
            for net in (encoder, decoder):
                net.set_progress(float(prefix.split("alpha")[1]))
        with torch.no_grad():
            z = encoder(x)
            y = decoder(z)
        for found, key in ((z, "z"), (y, "y")):
            want = arrays[f"{prefix}/{key}"]
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("size", sorted(GOLDEN.json("state_dict_shipped")))
def test_shipped_sizes_have_the_published_keys(size: str, golden: Golden) -> None:
    want = golden.json("state_dict_shipped")[size]
    res, dims, latent = (int("".join(filter(str.isdigit, word))) for word in size.split("_"))
    inner = [dims] * (res.bit_length() - 1)
    args = ("residual9", inner, 1, latent, 1, Layers())
    encoder, decoder = EncoderFamily(*args).net("stab", res), DecoderFamily(*args).net("stab", res)
    assert keys_and_shapes(encoder) == want["enc"]
    assert keys_and_shapes(decoder) == want["dec"]
    counts = [v for k, v in sorted(want.items()) if k.endswith("params")]
    assert counts == [
        v for _, v in sorted({"dec_params": trainable(decoder), "enc_params": trainable(encoder)}.items())
    ]


def test_resolution_mixer_agrees(golden: Golden) -> None:
    arrays = golden.npz("mix_resolution")
    checked = 0
    for key in names(arrays, "*"):
        if key in ("x", "x3d"):
            continue
        kind, res, *alpha = key.split("_")
        x = torch.from_numpy(arrays["x3d" if kind.endswith("3d") else "x"])
        progress = float(alpha[0].removeprefix("alpha")) if alpha else 1.0
        found = mix_resolution(x, x.shape[-1], int(res), kind.removesuffix("3d"), progress)
        np.testing.assert_allclose(found, arrays[key], rtol=0, atol=1e-6)
        checked += 1
    assert checked

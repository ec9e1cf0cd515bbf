"""Post-hoc scores, ODIN and metrics against the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ascood.heads import standardise
from ascood.metrics import openood_metrics
from ascood.scores.base import Extract, TrainingFeatures
from ascood.scores.catalogue import CLASSES
from ascood.scores.odin import input_gradient
from ascood.testing import check_close, network_of
from ood_shared.testing.golden import Golden, golden_dir, names, tensors

GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
FACTS = GOLDEN.json("facts")
POSTHOC, ODIN_ARRAYS, METRICS = GOLDEN.npz("posthoc"), GOLDEN.npz("odin"), GOLDEN.npz("metrics")
CASES = FACTS["posthoc"]["cases"]


def make_bank(wrapped):
    weight, bias = tensors(POSTHOC, "fc_weight", "fc_bias")

    def extract(name):
        features = torch.from_numpy(POSTHOC[f"{name}_feature"])
        labels = (
            torch.from_numpy(POSTHOC[f"{name}_label"])
            if f"{name}_label" in POSTHOC
            else torch.full((len(features),), -1)
        )
        prepared = standardise(features, FACTS["posthoc"]["sigma_wrapped"]) if wrapped else features
        return Extract(prepared @ weight.T + bias, features, labels)

    return TrainingFeatures(extract, weight, bias), extract("test")


def rounding_of_gen(logits, gamma, M, ulps=8):
    """How far p^gamma (1 - p)^gamma moves, row by row, when p and 1 - p err by some roundings of float32 at 1.

    The vectors are of a program that takes 1 - p in float32: for a confident row it is 0 or a few roundings, and its
    power of 0.1 is anything from 0 to 0.25. Elsewhere this is far below the relative tolerance.
    """
    p = logits.double().softmax(1).sort(dim=1, descending=True).values[:, :M].numpy()
    error = ulps * np.finfo(np.float32).eps / 2
    high = (np.minimum(p + error, 1) ** gamma) * (1 - p + error) ** gamma
    low = p**gamma * np.maximum(1 - p - error, 0) ** gamma
    return np.where(p > 0.5, high - low, 0).sum(1)


@pytest.mark.parametrize("case", CASES)
def test_a_score_is_that_of_the_reference(case):
    facts = CASES[case]
    score = CLASSES[facts["score"]](args=dict(facts["args"]))
    bank, inputs = make_bank(facts["wrapped"])
    score.fit(bank)
    score.prepare()
    confidence, predicted = score.score(inputs)
    atol = facts.get("atol", 0)
    if facts["score"] == "gen":
        atol = atol + rounding_of_gen(inputs.logits, **facts["args"])
    difference = np.abs(confidence.double().numpy() - POSTHOC[f"{case}_conf"])
    assert (difference <= facts["rtol"] * np.abs(POSTHOC[f"{case}_conf"]) + atol).all(), difference.max()
    assert np.array_equal(predicted, POSTHOC[f"{case}_pred"])
    for attribute, suffix in (("temperature", "T"), ("threshold", "threshold")):
        if f"{case}_{suffix}" in POSTHOC:
            assert np.allclose(np.asarray(getattr(score, attribute)), POSTHOC[f"{case}_{suffix}"], rtol=1e-4)


@pytest.mark.parametrize("wrapped", [False, True])
def test_logits_of_the_vectors_come_from_the_head(wrapped):
    check_close(make_bank(wrapped)[1].logits, POSTHOC["wrapped_logit" if wrapped else "test_logit"], 1e-5)


def odin_cases():
    tags = FACTS["odin"]
    return [(tag, key) for tag in tags for key in names(ODIN_ARRAYS, f"{tag}_odin_*_conf", f"{tag}_iodin_*_conf")]


@pytest.fixture(scope="module")
def odin_networks():
    made = {}
    for tag, facts in FACTS["odin"].items():
        prefix = f"{tag}_w/"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in ODIN_ARRAYS.items() if k.startswith(prefix)}
        made[tag] = network_of(facts).eval()
        made[tag].load_state_dict(state)
    return made


@pytest.mark.parametrize("name", ["odin", "iodin"])
@pytest.mark.parametrize(("tag", "key"), odin_cases())
def test_odin_is_that_of_the_reference(odin_networks, tag, key, name):
    data, temperature, noise = key.rsplit("_", 2)
    args = {"temperature": float(temperature[1:]), "noise": float(noise[3:])}
    x = torch.from_numpy(ODIN_ARRAYS[f"{tag}_x"])
    network = odin_networks[tag]
    ((confidence, predicted),) = CLASSES[name](args=args).score_images(network, x, FACTS["odin_std"][data])
    assert np.allclose(confidence, ODIN_ARRAYS[f"{tag}_{name}_{key}_conf"], rtol=0, atol=1e-6)
    assert np.array_equal(predicted, ODIN_ARRAYS[f"{tag}_{name}_{key}_pred"])


@pytest.mark.parametrize("tag", FACTS["odin"])
def test_the_input_gradient_and_its_largest_value_are_those_of_the_reference(odin_networks, tag):
    x = torch.from_numpy(ODIN_ARRAYS[f"{tag}_x"])
    (key,) = [key for key in ODIN_ARRAYS if key.startswith(f"{tag}_grad_T")]
    gradient = input_gradient(odin_networks[tag], x, float(key.split("_T")[-1]))
    check_close(gradient, ODIN_ARRAYS[key], 1e-4)
    assert np.array_equal(gradient.flatten(1).abs().argmax(1), ODIN_ARRAYS[f"{tag}_iodin_argmax_flat"])
    with torch.no_grad():
        check_close(odin_networks[tag](x), ODIN_ARRAYS[f"{tag}_logits"], 1e-5)


@pytest.mark.parametrize("case", names(METRICS, "*_metrics"))
def test_metrics_are_those_of_the_reference(case):
    found = openood_metrics(*(METRICS[f"{case}_{part}"] for part in ("conf", "label", "pred")))
    assert np.allclose(list(found.values()), METRICS[f"{case}_metrics"], rtol=0, atol=1e-9), found

"""Post-hoc scores, ODIN and metrics against the reference."""

import functools
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
from ood_shared.testing.golden import Golden, cases, check_each, fitting, golden_dir, stems, tensors

GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
FACTS = GOLDEN.json("facts")
POSTHOC, ODIN_ARRAYS, METRICS = GOLDEN.npz("posthoc"), GOLDEN.npz("odin"), GOLDEN.npz("metrics")
CASES = FACTS["posthoc"]["cases"]


def make_bank(wrapped):
    weight, bias = tensors(POSTHOC, "fc_weight", "fc_bias")

    def extract(name):
        features = torch.from_numpy(POSTHOC[f"{name}_feature"])
        labels = torch.full((len(features),), -1)
        if name != "test":
            (labels,) = tensors(POSTHOC, f"{name}_label")
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


def scored(case):
    """The score of a case, made ready, and the inputs."""
    facts = CASES[case]
    score = CLASSES[facts["score"]](args=dict(facts["args"]))
    bank, inputs = make_bank(facts["wrapped"])
    score.fit(bank)
    score.prepare()
    return score, inputs


@pytest.mark.parametrize("case", CASES)
def test_a_score_is_that_of_the_reference(case):
    facts = CASES[case]
    score, inputs = scored(case)
    confidence, predicted = score.score(inputs)
    atol = facts.get("atol", 0)
    if facts["score"] == "gen":
        atol = atol + rounding_of_gen(inputs.logits, **facts["args"])

    def check(found, expected):
        difference = np.abs(found.double().numpy() - expected)
        exact = np.issubdtype(expected.dtype, np.integer)  # predictions
        limit = 0 if exact else facts["rtol"] * np.abs(expected) + atol
        assert (difference <= limit).all(), difference.max()

    check_each(POSTHOC, {f"{case}_conf": confidence, f"{case}_pred": predicted}, check)


FITTED = {"temp_scaling": ("temperature", "T"), "react": ("threshold", "threshold"), "dice": ("threshold", "threshold")}


@pytest.mark.parametrize(
    "case",
    [
        case
        for case, facts in CASES.items()
        if facts.get("score") in FITTED  # of the wrapped ones the vectors need not hold it
        and (not facts.get("wrapped") or f"{case}_{FITTED[facts['score']][1]}" in POSTHOC)
    ],
)
def test_the_fitted_number_of_a_score_is_that_of_the_reference(case):
    attribute, suffix = FITTED[CASES[case]["score"]]
    assert np.allclose(np.asarray(getattr(scored(case)[0], attribute)), POSTHOC[f"{case}_{suffix}"], rtol=1e-4)


@pytest.mark.parametrize("wrapped", [False, True])
def test_logits_of_the_vectors_come_from_the_head(wrapped):
    check_close(make_bank(wrapped)[1].logits, POSTHOC["wrapped_logit" if wrapped else "test_logit"], 1e-5)


def odin_cases():
    """(tag, key) of all that ODIN or IODIN has a confidence or a prediction for."""
    pairs = [(name, word) for name in ("odin", "iodin") for word in ("conf", "pred")]
    return [
        (tag, key)
        for tag in FACTS["odin"]
        for key in stems(ODIN_ARRAYS, *(f"{tag}_{name}_*_{word}" for name, word in pairs))
    ]


@functools.cache
def odin_network(tag):
    network = network_of(FACTS["odin"][tag]).eval()
    network.load_state_dict({key: torch.from_numpy(ODIN_ARRAYS[f"{tag}_w/{key}"]) for key in network.state_dict()})
    return network


@pytest.mark.parametrize("name", ["odin", "iodin"])
@pytest.mark.parametrize(("tag", "key"), odin_cases())
def test_odin_is_that_of_the_reference(tag, key, name):
    data, temperature, noise = key.rsplit("_", 2)
    args = {"temperature": float(temperature[1:]), "noise": float(noise[3:])}
    x = torch.from_numpy(ODIN_ARRAYS[f"{tag}_x"])
    network = odin_network(tag)
    ((confidence, predicted),) = CLASSES[name](args=args).score_images(network, x, FACTS["odin_std"][data])
    found = {f"{tag}_{name}_{key}_conf": confidence, f"{tag}_{name}_{key}_pred": predicted}
    check_each(ODIN_ARRAYS, found, lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6))


@pytest.mark.parametrize("tag", FACTS["odin"])
def test_the_input_gradient_and_its_largest_value_are_those_of_the_reference(tag):
    x = torch.from_numpy(ODIN_ARRAYS[f"{tag}_x"])
    for key in fitting(ODIN_ARRAYS, f"{tag}_grad_T*"):
        gradient = input_gradient(odin_network(tag), x, float(key.split("_T")[-1]))
        check_close(gradient, ODIN_ARRAYS[key], 1e-4)
    assert np.array_equal(gradient.flatten(1).abs().argmax(1), ODIN_ARRAYS[f"{tag}_iodin_argmax_flat"])


@pytest.mark.parametrize("tag", FACTS["odin"])
def test_logits_of_the_odin_networks_are_those_of_the_reference(tag):
    with torch.no_grad():
        found = odin_network(tag)(*tensors(ODIN_ARRAYS, f"{tag}_x"))
    check_close(found, ODIN_ARRAYS[f"{tag}_logits"], 1e-5)


@pytest.mark.parametrize("case", cases(METRICS, "*_conf", "*_label", "*_pred", "*_metrics"))
def test_metrics_are_those_of_the_reference(case):
    found = openood_metrics(*(METRICS[f"{case}_{part}"] for part in ("conf", "label", "pred")))
    assert np.allclose(list(found.values()), METRICS[f"{case}_metrics"], rtol=0, atol=1e-9), found

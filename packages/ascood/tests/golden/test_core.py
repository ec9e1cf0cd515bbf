"""Networks, saliency, synthesis, head, losses and schedules against the reference."""

import copy
import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ascood.attribution import saliency
from ascood.heads import standardise
from ascood.losses import ascood_loss
from ascood.networks import make_backbone
from ascood.objectives import alpha_at, cosine_factor
from ascood.outliers import gradient_outliers, make_outliers, selection_size, shuffle_outliers, shuffle_positions
from ascood.testing import check_close, filled, image, network_of
from ood_shared.testing.golden import Golden, cases, check_each, fitting, golden_dir, stems, tensors

GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
FACTS = GOLDEN.json("facts")
NETWORKS, SYNTHESIS, SALIENCY = GOLDEN.npz("networks"), GOLDEN.npz("synthesis"), GOLDEN.npz("saliency")
HEAD, LOSSES, SCHEDULES = GOLDEN.npz("head"), GOLDEN.npz("losses"), GOLDEN.npz("schedules")


def facts_of(tag):
    """A network by its tag, `<backbone>_c<classes>[_ascood]`: facts.json need not list every one."""
    backbone, classes = tag.removesuffix("_ascood").rsplit("_c", 1)
    return {"backbone": backbone, "classes": int(classes), "wrapped": tag.endswith("_ascood"), "sigma": 0.5}


def number_after(key, word):
    return float(key.split(word)[-1])


@pytest.mark.parametrize("key", GOLDEN.json("fill_rule_check").get("fill_examples", {}))
def test_the_fill_rule_gives_the_numbers_of_the_vectors(key):
    check, wrapped = GOLDEN.json("fill_rule_check"), key.startswith("backbone.")
    network = network_of({"backbone": "resnet18_32x32", "classes": 10, "wrapped": wrapped, "sigma": 0.5})
    found = filled(network, check["salt"]).state_dict()[key].flatten()[:4]
    assert np.allclose(found, check["fill_examples"][key], rtol=0, atol=1e-7)


def test_the_image_rule_gives_the_numbers_of_the_vectors():
    example = GOLDEN.json("fill_rule_check")["image_example"]
    found = image(example["shape"], example["seed"]).flatten()[:4]
    assert np.allclose(found, example["first4"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("tag", FACTS["networks"])
def test_a_tag_says_which_network_is_meant(tag):
    found, expected = facts_of(tag), FACTS["networks"][tag]
    keys = ("backbone", "classes", "wrapped", *(["sigma"] if expected["wrapped"] else []))
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}


@pytest.mark.parametrize("tag", GOLDEN.json("state_dicts"))
def test_a_network_has_the_keys_of_the_authors_checkpoints(tag):
    expected = GOLDEN.json("state_dicts")[tag]
    network = network_of(facts_of(tag))
    state = network.state_dict()
    found = {
        "keys": [[key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()],
        "n_params": sum(p.numel() for p in network.parameters()),
        "n_buffers": sum(b.numel() for b in network.buffers()),
        "last_two_parameters": [name for name, _ in network.named_parameters()][-2:],
    }
    check_each(expected, found, same)


def same(found, expected):
    if isinstance(expected, list) and isinstance(expected[0], list):
        expected = [[key, list(shape), dtype.removeprefix("torch.")] for key, shape, dtype in expected]
    assert found == expected


def near(found, expected):
    check_close(found, expected, 1e-3)


@functools.cache
def eval_network(tag):
    """The network of a tag in evaluation mode, and its images."""
    network = filled(network_of(facts_of(tag)), FACTS["salt"]["networks"]).eval()
    return network, image(NETWORKS[f"{tag}_x_shape"].tolist(), int(NETWORKS[f"{tag}_x_seed"]))


@pytest.mark.parametrize("tag", cases(NETWORKS, "*_x_shape", "*_x_seed"))
def test_a_network_gives_the_logits_and_features_of_the_reference(tag):
    network, x = eval_network(tag)
    with torch.no_grad():
        logits, feature = network(x, return_feature=True)
        assert torch.allclose(network(x), logits, rtol=1e-5, atol=1e-5)
    check_each(NETWORKS, {f"{tag}_logits": logits, f"{tag}_feature": feature}, near)


MORE = ("fl", "forward_threshold_", "intermediate", "train_")
DETAILED = [
    tag
    for tag in stems(NETWORKS, "*_x_shape")
    if any(k.startswith(tuple(f"{tag}_{m}" for m in MORE)) for k in NETWORKS)
]


@pytest.mark.parametrize("tag", DETAILED)
def test_feature_lists_are_those_of_the_reference(tag):
    network, x = eval_network(tag)
    found = {}
    with torch.no_grad():
        for number, values in enumerate(network(x, return_feature_list=True)[1]):
            found[f"{tag}_fl{number}_shape"] = list(values.shape)
            found[f"{tag}_fl{number}_mean_absmean"] = [values.mean().item(), values.abs().mean().item()]
    check_each(NETWORKS, found, near)


@pytest.mark.parametrize("tag", DETAILED)
def test_logits_behind_a_threshold_are_those_of_the_reference(tag):
    network, x = eval_network(tag)
    for key in fitting(NETWORKS, f"{tag}_forward_threshold_*"):
        with torch.no_grad():
            near(network.forward_threshold(x, number_after(key, "threshold_")), NETWORKS[key])


@pytest.mark.parametrize("tag", DETAILED)
def test_intermediate_outputs_are_those_of_the_reference(tag):
    network, x = eval_network(tag)
    with torch.no_grad():
        found = {layer: network.intermediate_forward(x, layer).abs().mean() for layer in range(1, 5)}
    check_each(NETWORKS, {f"{tag}_intermediate{layer}_absmean": value for layer, value in found.items()}, near)


@pytest.mark.parametrize("tag", DETAILED)
def test_batch_statistics_are_those_of_the_reference(tag):
    network, x = eval_network(tag)
    network = copy.deepcopy(network).train()
    with torch.no_grad():
        found = {"logits": network(x)}
    found |= {f"bn1_{name}": getattr(network.bn1, name) for name in ("running_mean", "running_var")}
    check_each(NETWORKS, {f"{tag}_train_{name}": value for name, value in found.items()}, near)


SALIENT = cases(SALIENCY, "*_x", "*_labels")


@functools.cache
def salient_network(tag):
    """The network of a tag, its images, and our saliency."""
    network = filled(network_of(FACTS["saliency"][tag]), FACTS["salt"]["saliency"]).eval()
    x, labels = tensors(SALIENCY, f"{tag}_x", f"{tag}_labels")
    return network, x, saliency(network, x, labels)


@pytest.mark.parametrize("tag", SALIENT)
def test_saliency_is_that_of_the_reference(tag):
    check_close(salient_network(tag)[2], SALIENCY[f"{tag}_saliency"], 1e-4)


@pytest.mark.parametrize("tag", SALIENT)
def test_outliers_by_saliency_are_those_of_the_reference(tag):
    _, x, found = salient_network(tag)
    for key in fitting(SALIENCY, f"{tag}_gradient_ood_p*_alpha*"):
        p_inv, alpha = map(float, key.split("_ood_p")[1].split("_alpha"))
        outliers = gradient_outliers(x, found, p_inv, alpha)
        assert not outliers.requires_grad
        count = selection_size(x.shape[1:], p_inv, "gradient")
        expected_saliency = torch.from_numpy(SALIENCY[f"{tag}_saliency"]).flatten(1).abs()
        border = expected_saliency.topk(count).values[:, -1:]
        clear = ((expected_saliency - border).abs() > 1e-5).view_as(x)
        check_close(outliers[clear], SALIENCY[key][clear.numpy()], 1e-4)


@pytest.mark.parametrize(("images", "logits"), [("x", "logits_eval"), ("gradient_ood_p*_alpha*", "logits_eval_ood")])
@pytest.mark.parametrize("tag", SALIENT)
def test_logits_of_images_and_outliers_are_those_of_the_reference(tag, images, logits):
    key = fitting(SALIENCY, f"{tag}_{images}")[0]
    with torch.no_grad():
        found = salient_network(tag)[0](*tensors(SALIENCY, key))
    check_close(found, SALIENCY[f"{tag}_{logits}"], 1e-4)


def synthesis_cases(kind):
    """(name, key) of the outliers of a kind; a case that should have some and has none is skipped."""
    found = []
    for name, facts in FACTS["synthesis"].items():
        keys = [key for key in SYNTHESIS if re.fullmatch(rf"{re.escape(name)}_{kind}(_alpha.+)?", key)]
        if kind in facts.get("types", [kind]):
            lack = SYNTHESIS.lack(f"{name}_{kind}*")
            found += [(name, key) for key in keys] or [pytest.param(name, "", marks=pytest.mark.skip(reason=lack))]
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, facts in FACTS["synthesis"].items()
        for kind in ("gradient", "shuffle")
        if f"{name}_k_{kind}" in SYNTHESIS or "alpha" not in facts  # a case with an alpha of its own has no sizes
    ],
)
def test_sizes_of_the_selection_are_those_of_the_reference(name, kind):
    facts, expected = FACTS["synthesis"][name], SYNTHESIS[f"{name}_k_{kind}"]
    found = selection_size(SYNTHESIS[f"{name}_x"].shape[1:], float(SYNTHESIS[f"{name}_p_inv"]), kind)
    assert found == expected
    assert kind == "gradient" or (found == 0) == facts["empty_selection"]


@pytest.mark.parametrize(("name", "key"), synthesis_cases("gradient"), ids=lambda word: word)
def test_gradient_outliers_are_those_of_the_reference(name, key):
    x, grad = tensors(SYNTHESIS, f"{name}_x", f"{name}_grad")
    facts = FACTS["synthesis"][name]
    alpha = number_after(key, "_alpha") if "_alpha" in key else facts["alpha"]
    p_inv = float(SYNTHESIS[f"{name}_p_inv"])
    found = make_outliers(x, grad, "gradient", p_inv, alpha, None)
    rows = facts["compare_images"]
    check_close(found[rows], SYNTHESIS[key][rows], 1e-5)


@pytest.mark.parametrize(
    "name", [name for name, facts in FACTS["synthesis"].items() if "shuffle" in facts.get("types", [])]
)
def test_shuffled_outliers_are_those_of_the_reference(name):
    x, grad, uniform = tensors(SYNTHESIS, f"{name}_x", f"{name}_grad", f"{name}_shuffle_u")
    p_inv = float(SYNTHESIS[f"{name}_p_inv"])
    count = selection_size(x.shape[1:], p_inv, "shuffle")
    rows = FACTS["synthesis"][name]["compare_images"]
    found = make_outliers(x, grad, "shuffle", p_inv, 1.0, uniform)
    assert torch.equal(found, shuffle_outliers(x, grad, p_inv, uniform))
    values = {f"{name}_shuffle": found}
    if count:
        values[f"{name}_shuffle_top"] = shuffle_positions(grad, count)
    check_each(SYNTHESIS, values, lambda ours, theirs: check_close(ours[rows], theirs[rows], 1e-6))


@pytest.mark.parametrize("name", cases(SYNTHESIS, "*_shuffle_u", "*_shuffle_perm"))
def test_the_order_of_the_shuffle_is_that_of_the_reference(name):
    (uniform,) = tensors(SYNTHESIS, f"{name}_shuffle_u")
    assert np.array_equal(uniform.argsort(dim=1), SYNTHESIS[f"{name}_shuffle_perm"])


@pytest.mark.parametrize(("name", "key"), synthesis_cases("gaussian"), ids=lambda word: word)
def test_gaussian_outliers_are_those_of_the_reference(name, key):
    x, noise = tensors(SYNTHESIS, f"{name}_x", f"{name}_gauss_z")
    found = make_outliers(x, None, "gaussian", 0.0, number_after(key, "_alpha"), noise)
    check_close(found, SYNTHESIS[key], 1e-6)


def constant_and_other_rows(name):
    constant = FACTS["head"][name]["constant_rows"]
    return constant, [row for row in range(len(HEAD[f"{name}_feature"])) if row not in constant]


@pytest.mark.parametrize("name", cases(HEAD, "*_feature", "*_zstd"))
def test_standardised_features_are_those_of_the_reference(name):
    constant, rows = constant_and_other_rows(name)
    found = standardise(*tensors(HEAD, f"{name}_feature"))
    check_close(found[rows], HEAD[f"{name}_zstd"][rows], 1e-5)
    assert torch.isfinite(found).all()
    assert (found[constant].abs() < 0.2).all()


@pytest.mark.parametrize("name", cases(HEAD, "*_feature", "*_weight", "*_bias"))
def test_logits_of_the_standardised_head_are_those_of_the_reference(name):
    feature, weight, bias = tensors(HEAD, f"{name}_feature", f"{name}_weight", f"{name}_bias")
    _, rows = constant_and_other_rows(name)
    for key in fitting(HEAD, f"{name}_logits_sigma*"):
        logits = standardise(feature, number_after(key, "sigma")) @ weight.T + bias
        check_close(logits[rows], HEAD[key][rows], 1e-5)


def losses_of(name, weight):
    """(total, ID part, OOD part), and the gradients for the ID and the OOD logits."""
    id_logits, ood_logits, target = tensors(LOSSES, f"{name}_id_logit", f"{name}_ood_logit", f"{name}_target")
    id_logits.requires_grad_(True)
    ood_logits.requires_grad_(True)
    losses = ascood_loss(id_logits, target, ood_logits, weight)
    losses[0].backward()
    return [loss.detach() for loss in losses], [id_logits.grad, ood_logits.grad]


def equal_losses(found, expected):
    assert np.allclose(found, expected, rtol=1e-7, atol=1e-7), (found, expected)


LOGITS = cases(LOSSES, "*_id_logit", "*_ood_logit", "*_target")


@pytest.mark.parametrize("name", LOGITS)
def test_the_parts_of_the_loss_are_those_of_the_reference(name):
    (_, of_id, of_ood), _ = losses_of(name, 1.0)
    check_each(LOSSES, {f"{name}_id_loss": of_id, f"{name}_ood_loss": of_ood}, equal_losses)


@pytest.mark.parametrize("name", LOGITS)
def test_weighted_losses_and_gradients_are_those_of_the_reference(name):
    found = {}
    for weight in {key.split("_w")[-1] for key in fitting(LOSSES, f"{name}_*_w*")}:
        (total, _, _), (of_id, of_ood) = losses_of(name, float(weight))
        keys = (f"{name}_{word}_w{weight}" for word in ("total", "grad_id", "grad_ood"))
        found |= dict(zip(keys, (total, of_id, of_ood), strict=True))
    check_each(LOSSES, found, equal_losses)


def schedules(word, suffix):
    """Their names, of which the settings or the values may be missing."""
    return sorted({key.removesuffix(suffix) for key in SCHEDULES if key.startswith(word)})


@pytest.mark.parametrize("key", schedules("alpha", "_min_max_epochs"))
def test_alpha_follows_the_reference(key):
    low, high, epochs = SCHEDULES[f"{key}_min_max_epochs"]
    found = [alpha_at(epoch, int(epochs), low, high) for epoch in range(1, int(epochs) + 1)]
    assert np.allclose(found, SCHEDULES[key], rtol=1e-12, atol=0)


@pytest.mark.parametrize("key", schedules("lr", "_lr_fac_epochs_steps"))
def test_learning_rates_follow_the_reference(key):
    lr, factor, epochs, steps = SCHEDULES[f"{key}_lr_fac_epochs_steps"]
    total = int(epochs * steps)
    expected = SCHEDULES[key]
    found = [[rate * cosine_factor(step, total, lr) for rate in (lr, factor * lr)] for step in range(total + 1)]
    assert len(expected) == total + 1
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert math.isclose(found[-1][0], 1e-6)


def test_the_backbones_are_known_by_their_names():
    assert make_backbone("lenet", 3)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)

"""Networks, saliency, synthesis, head, losses and schedules against the reference."""

import math
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
from ood_shared.testing.golden import Golden, golden_dir, names, tensors

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


def test_the_fill_rule_gives_the_numbers_of_the_vectors():
    check = GOLDEN.json("fill_rule_check")
    plain, wrapped = (
        filled(network_of({"backbone": "resnet18_32x32", "classes": 10, "wrapped": w, "sigma": 0.5}), check["salt"])
        for w in (False, True)
    )
    for key, values in check["fill_examples"].items():
        state = (wrapped if key.startswith("backbone.") else plain).state_dict()
        assert np.allclose(state[key].flatten()[:4], values, rtol=0, atol=1e-7)
    example = check["image_example"]
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
    found = [[key, list(value.shape), str(value.dtype)] for key, value in state.items()]
    wanted = [
        [key, list(shape), dtype if dtype.startswith("torch") else f"torch.{dtype}"]
        for key, shape, dtype in expected["keys"]
    ]
    assert found == wanted
    assert sum(p.numel() for p in network.parameters()) == expected["n_params"]
    assert sum(b.numel() for b in network.buffers()) == expected["n_buffers"]
    assert [name for name, _ in network.named_parameters()][-2:] == expected["last_two_parameters"]


@pytest.mark.parametrize("tag", names(NETWORKS, "*_x_shape"))
def test_a_network_gives_the_logits_and_features_of_the_reference(tag):
    network = filled(network_of(facts_of(tag)), FACTS["salt"]["networks"]).eval()
    x = image(NETWORKS[f"{tag}_x_shape"].tolist(), int(NETWORKS[f"{tag}_x_seed"]))
    with torch.no_grad():
        logits, feature = network(x, return_feature=True)
        check_close(logits, NETWORKS[f"{tag}_logits"], 1e-3)
        check_close(network(x), NETWORKS[f"{tag}_logits"], 1e-3)
        check_close(feature, NETWORKS[f"{tag}_feature"], 1e-3)


@pytest.mark.parametrize("tag", names(NETWORKS, "*_train_logits"))
def test_feature_lists_thresholds_and_batch_statistics_are_those_of_the_reference(tag):
    network = filled(network_of(facts_of(tag)), FACTS["salt"]["networks"]).eval()
    x = image(NETWORKS[f"{tag}_x_shape"].tolist(), int(NETWORKS[f"{tag}_x_seed"]))
    prefix = f"{tag}_"
    of_tag = {key.removeprefix(prefix): value for key, value in NETWORKS.items() if key.startswith(prefix)}
    with torch.no_grad():
        maps = network(x, return_feature_list=True)[1]
        for number in (key[2:-6] for key in of_tag if key.startswith("fl") and key.endswith("_shape")):
            found = maps[int(number)]
            assert list(found.shape) == list(of_tag[f"fl{number}_shape"])
            check_close([found.mean().item(), found.abs().mean().item()], of_tag[f"fl{number}_mean_absmean"], 1e-3)
        for key in of_tag:
            if key.startswith("forward_threshold_"):
                check_close(network.forward_threshold(x, number_after(key, "threshold_")), of_tag[key], 1e-3)
            if key.startswith("intermediate"):
                layer = int(key.removeprefix("intermediate").split("_")[0])
                check_close(network.intermediate_forward(x, layer).abs().mean(), of_tag[key], 1e-3)
        network.train()
        check_close(network(x), of_tag["train_logits"], 1e-3)
    check_close(network.bn1.running_mean, of_tag["train_bn1_running_mean"], 1e-3)
    check_close(network.bn1.running_var, of_tag["train_bn1_running_var"], 1e-3)


@pytest.mark.parametrize("tag", names(SALIENCY, "*_saliency"))
def test_saliency_and_its_outlier_are_those_of_the_reference(tag):
    facts = FACTS["saliency"][tag]
    network = filled(network_of(facts), FACTS["salt"]["saliency"]).eval()
    x, labels = tensors(SALIENCY, f"{tag}_x", f"{tag}_labels")
    found = saliency(network, x, labels)
    check_close(found, SALIENCY[f"{tag}_saliency"], 1e-4)
    (key,) = [key for key in SALIENCY if key.startswith(f"{tag}_gradient_ood_p")]
    outliers = gradient_outliers(x, found, facts["p_inv"], facts["alpha"])
    assert not outliers.requires_grad
    count = selection_size(x.shape[1:], facts["p_inv"], "gradient")
    expected_saliency = torch.from_numpy(SALIENCY[f"{tag}_saliency"]).flatten(1).abs()
    border = expected_saliency.topk(count).values[:, -1:]
    clear = ((expected_saliency - border).abs() > 1e-5).view_as(x)
    check_close(outliers[clear], SALIENCY[key][clear.numpy()], 1e-4)
    with torch.no_grad():
        check_close(network(x), SALIENCY[f"{tag}_logits_eval"], 1e-4)
        check_close(network(torch.from_numpy(SALIENCY[key])), SALIENCY[f"{tag}_logits_eval_ood"], 1e-4)


def cases(kind):
    found = []
    for name, facts in FACTS["synthesis"].items():
        keys = [key for key in SYNTHESIS if key.startswith(f"{name}_{kind}") and kind in facts["types"]]
        found += [(name, key) for key in keys if kind == "gradient" or "_alpha" in key or key == f"{name}_{kind}"]
    assert found
    return found


@pytest.mark.parametrize(("name", "key"), cases("gradient"), ids=lambda word: word)
def test_gradient_outliers_are_those_of_the_reference(name, key):
    x, grad = tensors(SYNTHESIS, f"{name}_x", f"{name}_grad")
    facts = FACTS["synthesis"][name]
    alpha = number_after(key, "_alpha") if "_alpha" in key else facts["alpha"]
    p_inv = float(SYNTHESIS[f"{name}_p_inv"])
    if f"{name}_k_gradient" in SYNTHESIS:
        assert selection_size(x.shape[1:], p_inv, "gradient") == SYNTHESIS[f"{name}_k_gradient"]
    found = make_outliers(x, grad, "gradient", p_inv, alpha, None)
    rows = facts["compare_images"]
    check_close(found[rows], SYNTHESIS[key][rows], 1e-5)


@pytest.mark.parametrize("name", [name for name, _ in cases("shuffle")])
def test_shuffled_outliers_are_those_of_the_reference(name):
    x, grad, uniform = tensors(SYNTHESIS, f"{name}_x", f"{name}_grad", f"{name}_shuffle_u")
    p_inv = float(SYNTHESIS[f"{name}_p_inv"])
    count = selection_size(x.shape[1:], p_inv, "shuffle")
    assert count == SYNTHESIS[f"{name}_k_shuffle"]
    rows = FACTS["synthesis"][name]["compare_images"]
    found = make_outliers(x, grad, "shuffle", p_inv, 1.0, uniform)
    assert torch.equal(found, shuffle_outliers(x, grad, p_inv, uniform))
    check_close(found[rows], SYNTHESIS[f"{name}_shuffle"][rows], 1e-6)
    if count:
        assert np.array_equal(shuffle_positions(grad, count)[rows], SYNTHESIS[f"{name}_shuffle_top"][rows])
        assert np.array_equal(uniform.argsort(dim=1), SYNTHESIS[f"{name}_shuffle_perm"])


@pytest.mark.parametrize(("name", "key"), cases("gaussian"), ids=lambda word: word)
def test_gaussian_outliers_are_those_of_the_reference(name, key):
    x, noise = tensors(SYNTHESIS, f"{name}_x", f"{name}_gauss_z")
    found = make_outliers(x, None, "gaussian", 0.0, number_after(key, "_alpha"), noise)
    check_close(found, SYNTHESIS[key], 1e-6)


@pytest.mark.parametrize("name", names(HEAD, "*_feature"))
def test_the_standardised_head_is_that_of_the_reference(name):
    feature, weight, bias = tensors(HEAD, f"{name}_feature", f"{name}_weight", f"{name}_bias")
    constant = FACTS["head"][name]["constant_rows"]
    rows = [row for row in range(len(feature)) if row not in constant]
    found = standardise(feature)
    check_close(found[rows], HEAD[f"{name}_zstd"][rows], 1e-5)
    assert torch.isfinite(found).all()
    assert (found[constant].abs() < 0.2).all()
    for key in (key for key in HEAD if key.startswith(f"{name}_logits_sigma")):
        logits = standardise(feature, number_after(key, "sigma")) @ weight.T + bias
        check_close(logits[rows], HEAD[key][rows], 1e-5)


@pytest.mark.parametrize("name", names(LOSSES, "*_id_logit"))
def test_losses_and_gradients_are_those_of_the_reference(name):
    for key in (key for key in LOSSES if key.startswith(f"{name}_total_w")):
        id_logits, ood_logits, target = tensors(LOSSES, f"{name}_id_logit", f"{name}_ood_logit", f"{name}_target")
        id_logits.requires_grad_(True)
        ood_logits.requires_grad_(True)
        weight = key.split("_w")[-1]
        total, of_id, of_ood = ascood_loss(id_logits, target, ood_logits, float(weight))
        total.backward()
        for value, wanted in (
            (of_id, f"{name}_id_loss"),
            (of_ood, f"{name}_ood_loss"),
            (total, key),
            (id_logits.grad, f"{name}_grad_id_w{weight}"),
            (ood_logits.grad, f"{name}_grad_ood_w{weight}"),
        ):
            assert np.allclose(value.detach(), LOSSES[wanted], rtol=1e-7, atol=1e-7), wanted


@pytest.mark.parametrize("key", [k for k in SCHEDULES if k.endswith("_min_max_epochs")])
def test_alpha_follows_the_reference(key):
    low, high, epochs = SCHEDULES[key]
    found = [alpha_at(epoch, int(epochs), low, high) for epoch in range(1, int(epochs) + 1)]
    assert np.allclose(found, SCHEDULES[key.removesuffix("_min_max_epochs")], rtol=1e-12, atol=0)


@pytest.mark.parametrize("key", [k for k in SCHEDULES if k.endswith("_lr_fac_epochs_steps")])
def test_learning_rates_follow_the_reference(key):
    lr, factor, epochs, steps = SCHEDULES[key]
    total = int(epochs * steps)
    expected = SCHEDULES[key.removesuffix("_lr_fac_epochs_steps")]
    found = [[rate * cosine_factor(step, total, lr) for rate in (lr, factor * lr)] for step in range(total + 1)]
    assert len(expected) == total + 1
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert math.isclose(found[-1][0], 1e-6)


def test_the_backbones_are_known_by_their_names():
    assert make_backbone("lenet", 3)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)

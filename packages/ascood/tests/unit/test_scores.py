"""Scores, the search and the evaluator: against the library, by hand, and against the literal way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ascood.scores.base import Extract, TrainingFeatures
from ascood.scores.catalogue import CLASSES, make_score
from ascood.scores.names import SCORES
from ascood.scores.odin import ODIN, input_step
from ascood.search import combinations, search_extracts, search_images
from ascood.testing import Tiny, filled, image
from ood_shared.errors import InputError
from torch import nn


def extract_of(count, seed, classes=4, dim=8, weight=None, bias=None):
    features = image((count, dim), seed).abs()
    labels = torch.arange(count) % classes
    return Extract(features @ weight.T + bias, features, labels)


@pytest.fixture
def bank():
    weight, bias = image((4, 8), 1), image((4,), 2)
    return TrainingFeatures(
        lambda name: extract_of(60, 3 if name == "train" else 4, weight=weight, bias=bias), weight, bias
    )


def fitted(name, bank, **args):
    score = CLASSES[name](args=args)
    score.fit(bank)
    score.prepare()
    return score


def test_every_name_has_a_class_and_a_yml_file():
    assert set(SCORES) == set(CLASSES)
    assert all(make_score(name).name == name for name in SCORES)


@pytest.mark.parametrize(
    ("name", "args", "sweep", "search"),
    [
        ("gen", {"gamma": 0.1, "M": 100}, 42, True),
        ("odin", {"temperature": 1000, "noise": 0.0014}, 28, True),
        ("knn", {"K": 50}, 5, True),
        ("msp", {}, 1, False),
        ("nnguide", {"alpha": 0.01, "K": 100}, 1, False),
    ],
)
def test_hyper_parameters_come_from_the_yml_files(name, args, sweep, search):
    score = make_score(name)
    assert (score.args, len(list(combinations(score.sweep))), score.search) == (args, sweep, search)


def test_the_working_folders_yml_file_wins(place):
    folder = place / "configs" / "postprocessors"
    folder.mkdir(parents=True)
    (folder / "knn.yml").write_text("postprocessor:\n  name: knn\n  APS_mode: False\n  postprocessor_args:\n    K: 7\n")
    assert make_score("knn").args == {"K": 7}


def test_the_alias_of_temperature_scaling_is_known():
    assert make_score("temperature_scaling").name == "temp_scaling"


def test_gradnorm_equals_the_gradient_that_is_taken_literally(bank):
    inputs = extract_of(5, 9, weight=bank.weight, bias=bank.bias)
    found, _ = fitted("gradnorm", bank).score(inputs)
    for row in range(5):
        layer = nn.Linear(8, 4)
        with torch.no_grad():
            layer.weight.copy_(bank.weight)
            layer.bias.copy_(bank.bias)
        (-F.log_softmax(layer(inputs.features[row]), 0)).sum().backward()
        assert torch.allclose(found[row], layer.weight.grad.abs().sum(), rtol=1e-4)


def test_knn_with_more_neighbours_than_the_bank_takes_the_farthest(bank):
    inputs = extract_of(5, 9, weight=bank.weight, bias=bank.bias)
    found, _ = fitted("knn", bank, K=1000).score(inputs)
    bank_points, points = (e.features / e.features.norm(dim=1, keepdim=True) for e in (bank.train, inputs))
    assert torch.allclose(-found, torch.cdist(points, bank_points).square().amax(1), rtol=1e-3)


def test_relation_leaves_the_features_as_they_were(bank):
    inputs = extract_of(5, 9, weight=bank.weight, bias=bank.bias)
    before, train = inputs.features.clone(), bank.train.features.clone()
    fitted("relation", bank, pow=1).score(inputs)
    assert torch.equal(inputs.features, before)
    assert torch.equal(bank.train.features, train)


def test_nnguide_takes_a_share_of_the_bank_only_when_asked(bank):
    whole = fitted("nnguide", bank, K=3, alpha=0.1)
    part = fitted("nnguide", bank, K=3, alpha=0.1, honour_alpha=True)
    assert (len(whole.points), len(part.points)) == (60, 6)


def test_gen_tells_confident_inputs_apart(bank):
    """In float32 the largest probability of all of these is 1, and 1 - p is 0."""
    logits = torch.stack([torch.tensor([20.0, 25.0, 30.0]), torch.zeros(3), torch.zeros(3)], dim=1)
    assert logits.softmax(1).amax(1).unique().numel() == 1
    score = CLASSES["gen"](args={"gamma": 0.1, "M": 3})
    confidence, predicted = score.score(Extract(logits, torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)))
    assert (confidence.diff() > 0).all()
    assert predicted.tolist() == [0, 0, 0]
    p = logits[0].double().softmax(0)
    rest = torch.stack([p[1] + p[2], p[0] + p[2], p[0] + p[1]])
    assert confidence[0].item() == pytest.approx(-(p**0.1 * rest**0.1).sum().item(), rel=1e-12)


def test_she_gives_a_class_without_right_predictions_the_mean_of_its_inputs(bank, capsys):
    train = bank.train
    wrong = TrainingFeatures(
        lambda name: Extract(F.one_hot(torch.zeros(60, dtype=torch.long), 4).float(), train.features, train.labels),
        bank.weight,
        bank.bias,
    )
    score = fitted("she", wrong)
    assert "3 of 4 classes" in capsys.readouterr().err
    assert torch.allclose(score.pattern[2], train.features[train.labels == 2].mean(0))


def test_klm_gives_a_class_without_predictions_a_one_hot_posterior(bank):
    logits = torch.zeros(60, 4)
    logits[:, 1] = 5.0
    one = TrainingFeatures(lambda name: Extract(logits, bank.train.features, bank.train.labels), bank.weight, bank.bias)
    score = fitted("klm", one)
    sure = torch.tensor([[200.0, 0.0, 0.0, 0.0]])
    confidence, _ = score.score(Extract(sure, image((1, 8), 1), torch.tensor([0])))
    assert abs(float(confidence)) < 1e-5


def test_a_dimension_that_leaves_no_residual_becomes_half(bank):
    for name in ("vim", "residual"):
        inputs = extract_of(5, 9, weight=bank.weight, bias=bank.bias)
        halved, given = (fitted(name, bank, dim=dim).score(inputs)[0] for dim in (256, 4))
        assert torch.allclose(halved, given)


def test_vim_and_dice_follow_their_hyper_parameter(bank):
    inputs = extract_of(5, 9, weight=bank.weight, bias=bank.bias)
    for name, key, values in (("vim", "dim", (2, 5)), ("dice", "p", (10, 90))):
        score = fitted(name, bank, **{key: values[0]})
        first = score.score(inputs)[0]
        score.args[key] = values[1]
        score.prepare()
        assert not torch.allclose(first, score.score(inputs)[0])


@pytest.mark.parametrize(
    ("name", "args"), [("knn", {"K": "many"}), ("scale", {"percentile": 100}), ("ebo", {"temperature": 0})]
)
def test_a_hyper_parameter_out_of_range_is_refused(bank, name, args):
    with pytest.raises(InputError, match=name):
        fitted(name, bank, **args).score(bank.val)


def test_t2fnorm_needs_its_network(bank):
    with pytest.raises(InputError, match="--wrapper-net T2FNormNet"):
        fitted("t2fnorm", bank).score(bank.val)


def test_the_first_list_varies_fastest():
    assert list(combinations([[1, 2], [3, 4]])) == [(1, 3), (2, 3), (1, 4), (2, 4)]


def test_the_first_of_equal_winners_is_taken_and_set(bank):
    score = make_score("knn")
    score.fit(bank)
    same = bank.val
    trials = search_extracts(score, same, same)  # every setting has AUROC 0.5
    assert {trial["auroc"] for trial in trials} == {0.5}
    assert score.args == {"K": 50}


def test_values_go_to_hyper_parameters_by_position(bank):
    score = make_score("gen")
    score.fit(bank)
    trials = search_extracts(score, bank.val, bank.train)
    assert [trial["gamma"] for trial in trials[:7]] == [0.01, 0.1, 0.5, 1, 2, 5, 10]
    assert score.args in [
        {key: t[key] for key in ("gamma", "M")} for t in trials if t["auroc"] == max(u["auroc"] for u in trials)
    ]


def test_the_shared_search_of_odin_is_the_literal_one():
    network = filled(Tiny(4), 5).eval()
    sets, std = [image((6, 3, 8, 8), 1), image((6, 3, 8, 8), 2) * 2], (0.2, 0.3, 0.4)

    def judge(score):
        return lambda noises: list(zip(*(score.score_images(network, x, std, noises) for x in sets), strict=True))

    shared = make_score("iodin")
    trials = search_images(shared, judge(shared))
    for trial in trials:
        alone = CLASSES["iodin"](args={key: trial[key] for key in ("temperature", "noise")})
        scores = [alone.score_images(network, x, std)[0][0] for x in sets]
        pairs = scores[0][:, None] - scores[1][None]
        expected = float(((pairs > 0).double() + 0.5 * (pairs == 0)).mean())
        assert np.isclose(trial["auroc"], expected)
    assert len(trials) == 28


def test_a_gradient_of_zero_counts_as_positive():
    class Dead(nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :2]

    step = input_step(Dead(), image((2, 3, 4, 4), 1), 1.0, (0.5, 0.5, 0.5), single_value=False)
    assert torch.equal(step, torch.full_like(step, 2.0))


def test_i_odin_steps_at_one_value_of_each_image():
    network = filled(Tiny(4), 5).eval()
    step = input_step(network, image((5, 3, 8, 8), 1), 1000.0, (0.5,) * 3, single_value=True)
    assert (step.flatten(1) != 0).sum(1).tolist() == [1] * 5


def test_odin_leaves_parameters_without_gradients():
    network = filled(Tiny(4), 5).eval()
    ODIN(args={"temperature": 10, "noise": 0.01}).score_images(network, image((2, 3, 8, 8), 1), (0.5,) * 3)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())

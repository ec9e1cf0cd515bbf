"""The fused detector: its equations against literal ones, its object, its file."""

import math

import numpy as np
import pytest
import torch
from ood_bench import fused
from ood_bench.backbones.backbone import Backbone, Inputs
from ood_bench.evidence import Calibration, capped
from ood_bench.fused import distances, fit_statistics, pass_of
from ood_bench.fused_fit import fit_detector, held_out
from ood_shared import model_file
from ood_shared.backbone import build_common
from ood_shared.calibrated import calibrate
from ood_shared.contract import Common, Request
from ood_shared.datasets import load
from ood_shared.datasets.benchmark import read_benchmark
from ood_shared.errors import InputError
from ood_shared.training import Compute

SHORT = Common(None, None, 30, 32, "smallresnet10")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def passed():
    """A pass of random images with labels, and of others."""
    torch.manual_seed(0)
    network = build_common("smallresnet10", 3).eval()
    backbone = Backbone("train", network, Inputs(32), network.fc)
    with torch.inference_mode():
        fit = pass_of(backbone, torch.randn(1100, 3, 32, 32))
        new = pass_of(backbone, torch.randn(7, 3, 32, 32) * 1.5)
    return fit, torch.arange(1100) % 3, new


def test_the_pass_has_the_parts_of_the_equations(passed):
    fit, _, _ = passed
    assert [tuple(getattr(fit, name).shape) for name in ("pooled", "direction", "places")] == [
        (1100, 256),
        (1100, 64),
        (1100, 7168),
    ]
    assert torch.allclose(fit.direction.norm(dim=1), torch.ones(1100, dtype=torch.float64))


def test_distances_are_those_of_the_equations_written_out(passed):
    fit, labels, new = passed
    statistics = fit_statistics(fit, labels, 3)
    values, closest = distances(statistics, new)
    d1, d2, d3, d4 = values.numpy()
    scale = fit.pooled.numpy().std(axis=0) + 1e-9
    s, t = fit.pooled.numpy() / scale, new.pooled.numpy() / scale
    means = np.stack([s[labels == c].mean(axis=0) for c in range(3)])

    def inverse(centred):
        covariance = centred.T @ centred / len(centred)
        return np.linalg.inv(covariance + (0.01 * np.trace(covariance) / 256 + 1e-9) * np.eye(256))

    within, total = inverse(s - means[labels]), inverse(s - s.mean(axis=0))
    joint = np.array([min((x - mu) @ within @ (x - mu) for mu in means) for x in t])
    overall = np.array([(x - s.mean(axis=0)) @ total @ (x - s.mean(axis=0)) for x in t])
    assert d1 == pytest.approx(joint, rel=1e-8)
    assert d2 == pytest.approx(joint - overall, rel=1e-6)
    bank = fit.direction.half().double().numpy()
    nearest = np.sort(np.linalg.norm(new.direction.numpy()[:, None] - bank, axis=2), axis=1)
    assert d3 == pytest.approx(nearest[:, 9], rel=1e-12)
    assert np.linalg.norm(new.direction.numpy() - bank[closest], axis=1) == pytest.approx(nearest[:, 0])
    places, others = fit.places.unflatten(1, (112, 64)), new.places.unflatten(1, (112, 64))
    deviation = places.std(dim=(0, 2), correction=0)[:, None] + 1e-9
    w = (places / deviation).flatten(1).numpy()
    _, _, rows = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    x = (others / deviation).flatten(1).numpy() - w.mean(axis=0)
    left = np.linalg.norm(x - x @ rows[:64].T @ rows[:64], axis=1)
    assert d4 == pytest.approx(left, rel=0.02)  # the decomposition is a randomised one


def test_the_class_free_gaussian_is_left_out_where_it_would_be_rough(passed):
    fit, labels, new = passed
    few = fused.Pass(*(getattr(fit, name)[:999] for name in fused.Pass.__annotations__))
    for statistics in (fit_statistics(few, labels[:999], 3), fit_statistics(fit, labels * 0, 1)):
        assert statistics.members == ("joint", "neighbour", "residual")
        assert distances(statistics, new)[0].shape == (3, 7)
    tiny = fused.Pass(*(getattr(fit, name)[:10] for name in fused.Pass.__annotations__))
    with pytest.raises(InputError, match="more than 10"):
        fit_statistics(tiny, labels[:10], 3)


def test_the_smooth_p_value_by_hand():
    calibration = Calibration.of(np.arange(1.0, 11.0)[None])  # u = 10: nothing above it, so b = 1
    q = calibration.evidence(np.array([[0.0, 1.0, 5.5, 10.0, 13.0]]))[0]
    expected = [-math.log(1), -math.log(10.5 / 11), -math.log(6 / 11), -math.log(1.5 / 11), 3 - math.log(1.5 / 11)]
    assert q == pytest.approx(expected)
    twenty = Calibration.of(np.arange(1.0, 21.0)[None])  # u = 19, b = 1
    assert twenty.evidence(np.array([[21.0]]))[0, 0] == pytest.approx(2 - math.log(2.5 / 21))
    assert (np.diff(twenty.evidence(np.linspace(0, 40, 500)[None])[0]) >= -1e-12).all()


def test_a_rank_has_no_steps():
    calibration = Calibration.of(np.array([[0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 106.0]]))
    h = 1.02  # a hundredth of 106 - 4
    q = calibration.evidence(np.array([[1.0, 1.5, 1e4]]))[0]
    ranks = [0.5 + 1 / 2 / h + 1 + 0.5 - 1 / 2 / h, 1 + 2 * (0.5 + 0.25 / h) + 0.5 - 0.25 / h]
    assert q[:2] == pytest.approx([-math.log((11 - rank) / 11) for rank in ranks])
    near = np.linspace(0, 120, 100_001)
    assert np.abs(np.diff(calibration.evidence(near[None])[0])).max() < 2e-3  # a step would be 0.05 or more


def test_a_calibration_without_spread_and_one_that_is_not_a_number():
    same = Calibration.of(np.full((1, 100), 3.0))
    assert same.evidence(np.array([[2.0, 3.0, np.inf]]))[0] == pytest.approx([0, -math.log(51 / 101), np.inf])
    assert np.isnan(same.fuse(np.array([[np.nan]])))


def test_no_member_overrules_the_others_without_limit():
    assert capped(np.array([1.0, 29.0, 30.0, 31.0])).tolist() == pytest.approx([1, 29, 30, 30 + math.log(2)])
    far = Calibration.of(np.stack([np.arange(1.0, 101.0)] * 2)).fuse(np.array([[1e9], [50.0]]))
    assert far[0] < 30


def test_a_foreign_network_gets_two_members(passed):
    fit, labels, new = passed
    full, lean = fit_statistics(fit, labels, 3), fit_statistics(fit, labels, 3, lean=True)
    assert lean.members == ("relative", "neighbour")
    assert (distances(lean, new)[0] == distances(full, new)[0][1:3]).all()
    assert fit_statistics(fit, labels * 0, 1, lean=True).members == ("joint", "neighbour")


@pytest.fixture(scope="module")
def fitted():
    generator = torch.Generator().manual_seed(0)
    benchmark = read_benchmark(Request("digits", "letters", "7,8,9"), 32, 3, generator)
    names = [f"digit {number}" for number in range(len(benchmark.train))]
    found = fit_detector(benchmark, Compute(CPU), generator, schedule=SHORT, names=names)
    return calibrate(found.detector, found.scores, found.taken_for, alarm_rate=0.1, about={"id": "digits"}), benchmark


def test_scores_depend_on_nothing_but_the_image(fitted):
    detector, _ = fitted
    images = load("letters", "test").images[:40]
    whole = detector.score(images)
    assert (np.concatenate([detector.score(images[at : at + 7]) for at in range(0, 40, 7)]) == whole).all()
    assert (detector.score(images[::-1]) == whole[::-1]).all()


def test_digits_are_told_from_letters_and_the_rate_is_kept(fitted):
    detector, benchmark = fitted
    verdict = detector.judge(benchmark.test)
    outliers = detector.judge(benchmark.ood["letters"])
    assert verdict.flagged.mean() < 0.25
    assert outliers.flagged.mean() > 0.8
    assert ((verdict.p <= 0.1) >= verdict.flagged).all()
    assert set(outliers.drivers) <= set(detector.detector.statistics.members)
    assert (detector.predict(load("letters", "test").images[:50]) == -1).mean() > 0.8


def test_the_nearest_training_image_of_a_training_image_is_itself(fitted):
    detector, benchmark = fitted
    numbers = [int(name.split()[1]) for name in detector.detector.names[:20]]
    verdict = detector.judge(benchmark.train[numbers])
    assert verdict.nearest == list(detector.detector.names[:20])


def test_a_file_holds_the_very_detector(fitted, tmp_path):
    detector, benchmark = fitted
    path = tmp_path / "model.ood"
    model_file.save(path, detector)
    again = model_file.load(path, "cpu")
    assert (again.outputs(benchmark.test)[0] == detector.outputs(benchmark.test)[0]).all()
    assert (again.threshold, again.classes) == (detector.threshold, detector.classes)
    assert again.detector.backbone.inputs == detector.detector.backbone.inputs
    card = model_file.read_card(path)
    assert "images like your calibration images" in card["promise"]
    assert card["about"] == {"id": "digits"}


def test_a_tenth_is_held_out_by_class_or_by_group():
    labels = np.repeat([0, 1, 2], [1000, 500, 500])
    held = held_out(labels, None, np.random.default_rng(0))
    assert len(held) == 200
    assert np.abs(np.bincount(labels[held]) - [100, 50, 50]).max() <= 1
    for of_one, held_groups in ((1, 200), (4, 100), (20, 50)):  # half of the groups, where 100 would be more
        groups = [f"p{number // of_one}" for number in range(2000)]
        of_groups = held_out(labels, groups, np.random.default_rng(0))
        assert len({groups[i] for i in of_groups}) == held_groups
        assert len(of_groups) == held_groups * of_one
    with pytest.raises(InputError, match="200 or more"):
        held_out(labels[:199], None, np.random.default_rng(0))

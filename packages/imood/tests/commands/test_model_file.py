"""`model.ood` of imood: the scores of its run, the verbs, and states that make no detector."""

import imood
import numpy as np
import pytest
import torch
from imood import cli
from imood.data.inputs import Inputs
from imood.detector import ImoodDetector, restore
from imood.metrics import metric_of, n_outputs_of
from imood.networks import build
from imood.pool import FeaturePool
from imood.scores import METRICS, Rule
from ood_shared import model_file
from ood_shared.contract import Common
from ood_shared.datasets import load
from ood_shared.testing.models import DIGITS, bench_digits, check_digits, check_forgeries, check_verbs

SMALL = Common(120, 60, 12, 24, "smallresnet10")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of some steps, every test image of digits scored."""
    return bench_digits(cli.main, tmp_path_factory.mktemp("bench"), SMALL)


def test_the_file_of_a_bench_gives_its_scores_to_the_bit(folder):
    assert isinstance(check_digits(folder, 32, 3, SMALL).detector, ImoodDetector)


def test_the_verbs_make_the_same_file_and_score_with_it(folder, tmp_path):
    check_verbs(cli.main, folder, tmp_path)


def detector_of(metric, name="smallresnet10"):
    torch.manual_seed(0)
    network = build(name, 3, n_outputs_of(metric, 3), 4).eval()
    pool = None
    if metric_of(metric).pool:
        dim = network.classifier.in_features
        pool = FeaturePool((9, 6, 5), dim)
        pool.fill(torch.randn(40, dim), torch.arange(40) % 3)
    rule = Rule(metric, (9, 6, 5), 0.7, "fixed", 0.3)
    return ImoodDetector(network, rule, Inputs(native=(20, 24)), ("a", "b", "c"), pool)


@pytest.mark.parametrize("metric", METRICS)
def test_every_score_is_made_again_from_its_state_to_the_bit(metric):
    detector = detector_of(metric)
    again = restore(detector.state(), CPU)
    images = np.random.default_rng(0).integers(0, 256, (20, 30, 40), dtype=np.uint8)
    assert (again.score(images) == detector.score(images)).all()
    assert (again.predict(images) == detector.predict(images)).all()
    assert (again.rule, again.inputs) == (detector.rule, detector.inputs)


@pytest.mark.parametrize("name", ["ResNet18", "ResNet34", "smallresnet22"])
def test_every_network_is_made_again_from_its_state(name):
    detector = detector_of("msp", name)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    assert (restore(detector.state(), CPU).score(images) == detector.score(images)).all()


@pytest.mark.parametrize("metric", ["ada_maha", "bkg_c"])
def test_a_state_that_was_forged_or_cut_is_refused_in_words(metric):
    words = {"network": "ResNet19", "score": "mspp", "counts": [9, 6], "tau": "1", "maha_sign": "minus"}
    words |= {"trained_tau": None, "precision": "fp8", "channels_last": 1}
    check_forgeries(detector_of(metric), restore, words)


def test_a_test_does_not_replace_the_results_of_a_bench(folder, capsys):
    before = (folder / "scores.npz").read_bytes()
    assert cli.main(["test", "--ckpt_path", str(folder), "--gpu", "cpu"]) == 2
    assert f"imood score {folder / 'model.ood'}" in capsys.readouterr().err
    assert (folder / "scores.npz").read_bytes() == before


def test_the_run_is_loaded_to_the_scores_of_the_file(folder):
    images = load(str(folder.parent / DIGITS), "test").images
    assert (imood.load(folder, device="cpu").score(images) == model_file.load(folder / "model.ood").scores).all()

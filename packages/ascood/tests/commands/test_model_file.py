"""`model.ood` of ascood: the scores of its run, the verbs, and states that make no detector."""

import ascood
import numpy as np
import pytest
import torch
from ascood import cli
from ascood.build import to_device, wrap
from ascood.data.preprocessing import Chain
from ascood.detector import AscoodDetector, restore
from ascood.evaluator import features_for
from ascood.networks import make_backbone
from ascood.preparation import Preparation
from ascood.scores.base import Extract, FeatureScore
from ascood.scores.catalogue import make_score
from ascood.scores.names import SCORES
from ood_shared import model_file
from ood_shared.contract import Common
from ood_shared.datasets import load
from ood_shared.testing.models import DIGITS, bench_digits, check_digits, check_forgeries, check_verbs, forged

SMALL = Common(120, 60, 6, 24, "smallresnet10")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of some steps, every test image of digits scored."""
    return bench_digits(cli.main, tmp_path_factory.mktemp("bench"), SMALL)


def test_the_file_of_a_bench_gives_its_scores_to_the_bit(folder):
    assert isinstance(check_digits(folder, 32, 3, SMALL).detector, AscoodDetector)


def test_the_verbs_make_the_same_file_and_score_with_it(folder, tmp_path):
    check_verbs(cli.main, folder, tmp_path)


def detector_of(name, network="lenet", wrapper="ASCOODNet", chain=None, native=(20, 24)):
    torch.manual_seed(0)
    wrapper = "T2FNormNet" if name == "t2fnorm" else wrapper
    made = to_device(wrap(make_backbone(network, 3), wrapper, 3), CPU).eval()
    dim = made.get_fc_layer().in_features
    outputs = Extract(torch.randn(40, 3), torch.rand(40, dim), torch.arange(40) % 3)
    rule = make_score(name)
    with torch.no_grad():
        if isinstance(rule, FeatureScore):
            rule.fit(features_for(made, lambda split: outputs))
        rule.prepare()
    chain = chain or Chain("test", 32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return AscoodDetector(made, rule, chain, Preparation(chain, native), ("a", "b", "c"))


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 40, 50), dtype=np.uint8)


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_made_again_from_its_state_to_the_bit(name):
    detector = detector_of(name)
    again = restore(forged(detector.state()), CPU)
    assert (again.score(IMAGES) == detector.score(IMAGES)).all()
    assert (again.predict(IMAGES) == detector.predict(IMAGES)).all()
    assert again.rule.settings() == detector.rule.settings()


@pytest.mark.parametrize("network", ["resnet18_32x32_narrow", "smallresnet10"])
@pytest.mark.parametrize("wrapper", [None, "ASCOODNet", "T2FNormNet"])
def test_every_network_with_the_sizes_of_the_test_command_is_made_again(network, wrapper):
    chain = Chain("test", 36, 32, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26), "bicubic")
    detector = detector_of("msp", network, wrapper, chain, None)
    again = restore(forged(detector.state()), CPU)
    assert (again.chain, again.prepare) == (chain, Preparation(chain))
    assert (again.score(IMAGES) == detector.score(IMAGES)).all()


@pytest.mark.parametrize("name", ["nnguide", "react", "odin"])
def test_a_state_that_was_forged_or_cut_is_refused_in_words(name):
    chain = {"pre_size": 32, "image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    words = {"network": "resnet19", "wrapper": "Net", "score": {"name": "exec", "args": {}}, "precision": 8}
    words |= {"native": "8", "resized_first": "no", "chain": {**chain, "std": [0, 1, 1]}}
    check_forgeries(detector_of(name), restore, words)
    check_forgeries(detector_of(name), restore, {"chain": {**chain, "image_size": 10**9}})


def test_the_run_is_loaded_to_the_scores_of_the_file(folder):
    images = load(str(folder.parent / DIGITS), "test").images
    assert (ascood.load(folder, device="cpu").score(images) == model_file.load(folder / "model.ood").scores).all()

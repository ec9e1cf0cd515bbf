"""`model.ood` of know_your_space: the scores of its run, the verbs, and states that make no detector."""

import know_your_space
import numpy as np
import pytest
import torch
from know_your_space import cli
from know_your_space.detector import KnowYourSpaceDetector, restore
from know_your_space.networks import WideResNet
from ood_shared.contract import Common
from ood_shared.datasets import load
from ood_shared.testing.models import bench_digits, check_digits, check_forgeries, check_verbs

SMALL = Common(120, 60, 12, 24, "smallresnet10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of some steps, every test image of digits scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("know_your_space.train._draw", lambda path, figure: None)
        return bench_digits(cli.main, tmp_path_factory.mktemp("bench"), SMALL)


def test_the_file_of_a_bench_gives_its_scores_to_the_bit(folder):
    assert isinstance(check_digits(folder, 32, 3, SMALL).detector, KnowYourSpaceDetector)


def test_the_verbs_make_the_same_file_and_score_with_it(folder, tmp_path):
    check_verbs(cli.main, folder, tmp_path)


@pytest.mark.parametrize("reversed", [False, True])
def test_a_detector_of_a_run_folder_is_made_again_from_its_state(reversed):
    network = WideResNet(3, 16, 2, 0.3).eval()
    detector = KnowYourSpaceDetector(network, ("a", "b", "c"), 2.5, reversed=reversed, native=(28, 28))
    again = restore(detector.state(), torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (20, 40, 30, 3), dtype=np.uint8)
    assert (again.score(images) == detector.score(images)).all()
    assert (again.predict(images) == detector.predict(images)).all()
    assert again.temperature == 2.5


def test_a_state_that_was_forged_or_cut_is_refused_in_words(folder):
    detector = know_your_space.load(folder, device="cpu")
    words = {"temperature": 0, "reversed": "yes", "precision": "fp8", "native": 8, "stored": None}
    again = check_forgeries(detector, restore, words)
    images = load("digits", "test").images[:20]
    assert (again.score(images) == detector.score(images)).all()

"""`model.ood` of mood_dpa: the scores of its run, the verbs, and states that make no detector."""

import json
import zipfile

import mood_dpa
import numpy as np
import pytest
from mood_dpa import bench, cli
from mood_dpa.detector import ImageDetector
from mood_dpa.detector_state import restore
from ood_shared.contract import Common
from ood_shared.datasets import load
from ood_shared.errors import InputError
from ood_shared.testing.models import CPU, bench_digits, check_digits, check_forgeries, check_verbs, forged

SMALL = Common(120, 60, 3, 8, "smallresnet10")
SCHEDULE = bench.Schedule(120, 60, 0, 3, 4, 4, "r22", 1e-3, 8, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of some steps, every test image of digits scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.SCHEDULES, "smoke", SCHEDULE)
        return bench_digits(cli.main, tmp_path_factory.mktemp("bench"), SMALL)


def test_the_file_of_a_bench_gives_its_scores_to_the_bit(folder):
    assert isinstance(check_digits(folder, 32, 1, SMALL).detector, ImageDetector)


def test_the_verbs_make_the_same_file_and_score_with_it(folder, tmp_path):
    check_verbs(cli.main, folder, tmp_path)


def test_a_state_that_was_forged_or_cut_is_refused_in_words(folder):
    detector = mood_dpa.load(folder, device="cpu")
    words = {"resolution": 33, "native": None, "precision": "fp8", "loss_type": "l3"}
    again = check_forgeries(detector, restore, words)
    images = load("digits", "test").images[:20]
    assert (again.score(images) == detector.score(images)).all()


def test_sizes_that_the_weights_do_not_have_fill_no_memory(folder):
    state = mood_dpa.load(folder, device="cpu").state()
    huge = {"type": "residual9", "kwargs": {"inner_dims": [10**6] * 4}}
    with pytest.raises(InputError, match="`enc` does not fit this network"):
        restore(forged(state, settings={"enc": huge}), CPU)


def test_the_file_names_no_weights_on_this_machine_and_asks_for_none(folder, tmp_path):
    state = mood_dpa.load(folder, device="cpu").state()
    entry = {**state.settings["loss_kwargs"], "path_to_vgg19_weights": "nowhere.tar", "imagenet_pretrained": True}
    again = restore(forged(state, settings={"loss_kwargs": entry}), CPU)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    assert (again.score(images) == mood_dpa.load(folder, device="cpu").score(images)).all()
    with zipfile.ZipFile(folder / "model.ood") as archive:
        assert "path_to_vgg19_weights" not in json.dumps(json.loads(archive.read("card.json")))

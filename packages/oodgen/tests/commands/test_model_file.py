"""`model.ood` of oodgen: the scores of its run, the verbs, and states that make no detector."""

from dataclasses import replace

import numpy as np
import oodgen
import pytest
from ood_shared.contract import Common
from ood_shared.datasets import load
from ood_shared.testing.models import bench_digits, check_digits, check_forgeries, check_verbs
from oodgen import bench, cli
from oodgen.classifier import build_classifier
from oodgen.detector import OodgenDetector, restore
from oodgen.scores import KINDS

SMALL = Common(120, 60, 12, 24, "smallresnet10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of some steps, every test image of digits scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.SCHEDULES, "smoke", bench.Schedule(120, 60, 60, 20, 0.5, 0.1))
        return bench_digits(cli.main, tmp_path_factory.mktemp("bench"), SMALL)


def test_the_file_of_a_bench_gives_its_scores_to_the_bit(folder):
    assert isinstance(check_digits(folder, 28, 1, SMALL).detector, OodgenDetector)


def test_the_verbs_make_the_same_file_and_score_with_it(folder, tmp_path):
    check_verbs(cli.main, folder, tmp_path)


@pytest.mark.parametrize("architecture", ["doc", "paper", "smallresnet10", "smallresnet22"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_and_score_is_made_again_from_its_state(architecture, kind):
    names = ("a", "b", "c")
    detector = OodgenDetector(build_classifier(architecture, 3).eval(), names, 0.1307, 0.3081, kind, native=(20, 24))
    again = restore(detector.state(), next(detector.network.parameters()).device)
    assert replace(again, network=detector.network) == detector
    images = np.random.default_rng(0).integers(0, 256, (20, 30, 40), dtype=np.uint8)
    assert (again.score(images) == detector.score(images)).all()
    assert (again.predict(images) == detector.predict(images)).all()


def test_a_state_that_was_forged_or_cut_is_refused_in_words(folder):
    detector = oodgen.load(folder, device="cpu")
    words = {"network": "os.system", "score": "max_inn", "precision": 16, "mean": "0", "std": None, "native": [0, 8]}
    again = check_forgeries(detector, restore, words)
    images = load("digits", "test").images[:20]
    assert (again.score(images) == detector.score(images)).all()


def test_a_test_does_not_replace_the_results_of_a_bench(folder, capsys):
    before = (folder / "scores.npz").read_bytes()
    words = ["--in_data", str(folder), "--model_path", str(folder), "--save_path", str(folder), "--device", "cpu"]
    assert cli.main(["test", *words]) == 2
    assert f"oodgen score {folder / 'model.ood'}" in capsys.readouterr().err
    assert (folder / "scores.npz").read_bytes() == before


@pytest.mark.parametrize("step", ["train_vae", "train_classi"])
def test_a_training_does_not_replace_the_weights_of_a_bench(folder, capsys, step):
    before = {path: path.read_bytes() for path in folder.rglob("*.p*t*")}
    assert cli.main([step, "--in_data", str(folder), "--save_path", str(folder), "--device", "cpu"]) == 2
    assert "holds the results of a bench" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.p*t*")} == before

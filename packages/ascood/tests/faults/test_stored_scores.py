"""Stored scores and features are used again only where nothing changed."""

from pathlib import Path

import numpy as np
import pytest
from ood_shared import checkpoints
from PIL import Image

from .conftest import EVAL


def test_stored_scores_are_never_reused_after_the_weights_changed(trained, done):
    words = [*EVAL, "--postprocessor", "msp", "--save-score"]
    done("eval_ood", *words)
    path = trained / "s0" / "results" / "msp" / "scores.npz"
    first = np.load(path)["scores"]
    state = checkpoints.load(trained / "s0" / "best.ckpt")
    state["backbone.fc.weight"] = state["backbone.fc.weight"] * 0.5
    checkpoints.save(trained / "s0" / "best.ckpt", state)
    done("eval_ood", *words)
    assert not np.array_equal(first, np.load(path)["scores"])


def test_stored_scores_are_reused_when_nothing_changed(trained, done, monkeypatch):
    words = [*EVAL, "--postprocessor", "knn", "--save-csv"]
    done("eval_ood", *words)
    table = (trained / "ood" / "knn.csv").read_text()
    monkeypatch.setattr("ascood.extraction.extract", lambda *a, **k: pytest.fail("the network ran again"))
    done("eval_ood", *words)
    assert (trained / "ood" / "knn.csv").read_text() == table


def test_stored_scores_are_not_reused_with_other_settings(trained, done):
    words = [*EVAL, "--postprocessor", "knn", "--save-score", "--no-aps"]
    path = trained / "s0" / "results" / "knn" / "scores.npz"
    done("eval_ood", *words)
    first = np.load(path)["scores"]
    folder = Path("configs/postprocessors")
    folder.mkdir(parents=True)
    (folder / "knn.yml").write_text("postprocessor:\n  name: knn\n  postprocessor_args:\n    K: 1\n")
    done("eval_ood", *words)
    assert not np.array_equal(first, np.load(path)["scores"])


def test_a_damaged_cache_is_made_anew(trained, done):
    done("eval_ood", *EVAL, "--postprocessor", "ebo", "--save-csv")
    first = (trained / "ood" / "ebo.csv").read_text()
    for path in [*trained.glob("s0/scores/*.npz"), *trained.glob("s0/features/*.npz")]:
        path.write_bytes(path.read_bytes()[:100])
    done("eval_ood", *EVAL, "--postprocessor", "ebo", "--save-csv")
    assert (trained / "ood" / "ebo.csv").read_text() == first


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_changed_image_is_noticed_by_the_caches(trained, done, number):
    """Any image, not only some that stand for all: the published program would have printed the old numbers."""

    def confidences(*flags):
        done("eval_ood", *EVAL, "--postprocessor", "msp", *flags)
        with np.load(trained / "s0/scores/msp.npz") as arrays:
            return arrays["near/bars/conf"]

    first = confidences()
    path = sorted(Path("mine/ood/near/bars/x").iterdir())[number]
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    changed = confidences()
    assert np.flatnonzero(changed != first).tolist() == [number]
    assert np.array_equal(confidences("--fresh"), changed)

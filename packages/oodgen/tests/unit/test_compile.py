"""What `--compile` compiles: the VAE without its draws, and the classifier; each for training and for validation."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


def test_the_vae_has_a_graph_for_training_and_one_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = graphs_of(TRAINERS, "oodgen train_vae", tmp_path, "--epochs", "1")
    assert (len(found), found.breaks) == (2, [])


def test_the_classifier_has_a_graph_for_training_and_one_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = graphs_of(TRAINERS, "oodgen train_classi", tmp_path, "--epochs", "1")
    assert (len(found), found.breaks) == (2, [])

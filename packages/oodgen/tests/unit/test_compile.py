"""What `--compile` compiles: the VAE without its draws, and the classifier; each for training and for validation."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


@pytest.mark.parametrize("trainer", ["oodgen train_vae", "oodgen train_classi"])
def test_there_is_a_graph_for_training_and_one_for_validation(tmp_path: Path, trainer: str) -> None:
    found = graphs_of(TRAINERS, trainer, tmp_path, "--epochs", "1")
    assert (len(found), found.breaks) == (2, [])

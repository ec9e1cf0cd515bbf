"""What `--compile` compiles: the autoencoder of each stage, without the loss."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


def test_each_of_three_stages_has_a_graph_for_training_and_one_for_validation(tmp_path: Path) -> None:
    found = graphs_of(TRAINERS, "mood-dpa train", tmp_path)
    assert (len(found), found.breaks) == (6, [])

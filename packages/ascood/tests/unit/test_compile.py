"""What `--compile` compiles: the network, for attribution and for training; the last batch is smaller."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


def test_one_graph_attributes_and_one_trains(tmp_path: Path) -> None:
    found = graphs_of(
        TRAINERS, "ascood train", tmp_path, "--dataset.train.batch_size", "5", "--optimizer.num_epochs", "1"
    )
    assert (len(found), found.breaks) == (2, [])

"""What `--compile` compiles: the network, for training; its batches differ in outliers and at the end of an epoch."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


def test_one_graph_serves_all_batches(tmp_path: Path) -> None:
    found = graphs_of(TRAINERS, "know_your_space train", tmp_path, "--epochs", "2")
    assert (len(found), found.breaks) == (1, [])

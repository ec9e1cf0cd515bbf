"""What `--compile` compiles: the network, for training and for validation."""

from pathlib import Path

import pytest
from ood_shared.testing.graphs import graphs_of

pytestmark = pytest.mark.slow
TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"


def test_one_graph_trains_and_one_validates(tmp_path: Path) -> None:
    found = graphs_of(TRAINERS, "imood train", tmp_path, "-e", "1")
    assert (len(found), found.breaks) == (2, [])

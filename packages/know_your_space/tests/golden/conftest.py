"""Where the golden vectors are read from."""

from pathlib import Path

import pytest
from ood_shared.testing.golden import Golden, golden_dir

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))


@pytest.fixture(scope="session")
def golden() -> Golden:
    return GOLDEN

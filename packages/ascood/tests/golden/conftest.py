"""The golden vectors, for tests that are not parametrised by them."""

from pathlib import Path

import pytest
from ood_shared.testing.golden import Golden, golden_dir


@pytest.fixture(scope="session")
def golden():
    return Golden(golden_dir("ascood", Path(__file__).parent))


@pytest.fixture(scope="session")
def facts(golden):
    return golden.json("facts")

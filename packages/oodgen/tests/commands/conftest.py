"""The commands run on the CPU, except in tests that are marked `gpu`."""

import pytest


@pytest.fixture(autouse=True)
def _no_gpu(no_gpu: None) -> None:
    """These tests are the same on every machine."""

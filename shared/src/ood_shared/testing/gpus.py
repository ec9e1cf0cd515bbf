"""A machine without a GPU, for tests: on one, the same run twice need not be bit-equal."""

import pytest
import torch


@pytest.fixture
def no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find no GPU, unless the test is marked `gpu`."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def never_a_gpu(no_gpu: None) -> None:
    """The same in every test of the package whose `conftest.py` imports both."""

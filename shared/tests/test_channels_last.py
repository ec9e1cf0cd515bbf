"""Where networks are laid out channels last without being asked."""

import pytest
import torch
from ood_shared.devices import channels_last_on


@pytest.mark.parametrize(("name", "expected"), [("cuda", True), ("cuda:1", True), ("cpu", False), ("mps", False)])
def test_on_cuda_alone(name: str, expected: bool) -> None:
    assert channels_last_on(torch.device(name)) is expected

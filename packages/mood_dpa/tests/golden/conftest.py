"""Where the vectors lie, and networks with the weights they were made with."""

import zlib
from math import prod, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from mood_dpa.vgg import VGG19
from ood_shared.testing.golden import Golden, golden_dir

GOLDEN = Golden(golden_dir("mood_dpa", Path(__file__).parent))


def rule_value(key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The weight rule of the vectors' README; None leaves the entry alone."""
    g = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(prod(shape)).reshape(shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("_alpha"):
        return None
    if len(shape) >= 2:
        return g * sqrt(2 / prod(shape[1:]))
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(g)
    if key.endswith("running_mean"):
        return 0.1 * g
    return 1 + 0.1 * g if key.endswith("weight") else 0.05 * g


def fill(module: torch.nn.Module, prefix: str = "", factor: float = 1.0) -> torch.nn.Module:
    """Fill a network by the rule."""
    state = {}
    for key, entry in module.state_dict().items():
        value = rule_value(prefix + key, tuple(entry.shape))
        if value is None:
            state[key] = entry
        elif not entry.is_floating_point():
            state[key] = torch.from_numpy(value)
        else:
            state[key] = torch.from_numpy(value.astype(np.float32)) * torch.tensor(factor, dtype=torch.float32)
    module.load_state_dict(state)
    return module


@pytest.fixture(scope="session")
def golden() -> Golden:
    return GOLDEN


_FEATURES: dict[str, VGG19] = {}


def rule_features(pad_type: str = "zero") -> VGG19:
    """VGG19 by the rule, made once."""
    if pad_type not in _FEATURES:
        _FEATURES[pad_type] = fill(VGG19(pad_type)).eval()
    return _FEATURES[pad_type]


@pytest.fixture(scope="session")
def features():
    return rule_features


@pytest.fixture(scope="session")
def filled():
    return fill

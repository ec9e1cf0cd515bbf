"""Golden vectors of imood, and networks with the weights that they were made with."""

import re
import zlib
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from imood.heads import HeadsOnly
from imood.networks import build
from imood.pool import FeaturePool
from ood_shared.testing.golden import Golden, fill_state_dict, golden_dir

GOLDEN = Golden(golden_dir("imood", Path(__file__).parent))


def hash_u(name, shape):
    """Numbers in [-1, 1) from a name, by the rule of the README."""
    h = np.arange(1, prod(shape) + 1, dtype=np.uint32)  # whose sums and products are modulo 2**32, as in the rule
    h *= np.uint32(0x9E3779B9)
    h += np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return (h / 2.0**31 - 1).reshape(shape)


def weight_rule(key, shape, salt=0):
    """Values of a state-dict entry, by the table of the README."""
    u = hash_u(key, shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if key.endswith(("running_mean", "bias")):
        return 0.1 * u
    if key.endswith("running_var"):
        return 1 + 0.2 * np.abs(u)
    if len(shape) == 1:
        return 0.7 + 0.1 * u
    return u * np.sqrt(6 / prod(shape[1:]))


def filled(name, n_classes, n_outputs, dtype=torch.float64):
    """A network with the weights of the rule."""
    return fill_state_dict(build(name, n_classes, n_outputs), dtype=dtype, rule=weight_rule)


def images(name, shape, dtype=torch.float64):
    return torch.from_numpy((0.5 + 0.5 * hash_u(name, shape)).astype(np.float32)).to(dtype)


def files(pattern):
    """Names (without .npz) of the golden files that fit a pattern with one `*`."""
    found = sorted(path.stem for path in GOLDEN.folder.glob(f"{pattern}.npz"))
    assert found, f"no golden file fits {pattern}"
    return found


def words(name, pattern):
    """What the groups of `pattern` match in each key of a file, for the keys that fit wholly."""
    found = [match.groups() for key in GOLDEN.npz(name) if (match := re.fullmatch(pattern, key))]
    assert found, f"no key of {name} fits {pattern}"
    return found


def heads_of(case, dtype=torch.float64):
    """The heads with the weights of a loss case."""
    heads = HeadsOnly(case["features"].shape[1], int(case["num_classes"])).to(dtype)
    names = {"aux_linear": "aux", "lambda_linear": "lambda", "projection.0": "proj0", "projection.2": "proj2"}
    with torch.no_grad():
        for module, stem in names.items():
            if stem.startswith("proj") and not any(key.startswith("proj") for key in case):
                continue  # only cases with a contrastive loss have a projection
            for kind in ("weight", "bias"):
                heads.get_parameter(f"{module}.{kind}").copy_(torch.from_numpy(case[f"{stem}_{kind}"]))
    return heads


def pool_of(queue, counters, dtype=torch.float64):
    """The pool that holds the queue, with the counters as recorded."""
    pool = FeaturePool([queue.shape[1]] * len(queue), queue.shape[2], dtype=dtype)
    pool.load_queue(torch.from_numpy(queue).to(dtype))
    assert pool.counters.tolist() == counters.tolist()
    return pool


@pytest.fixture(scope="session")
def golden() -> Golden:
    return GOLDEN

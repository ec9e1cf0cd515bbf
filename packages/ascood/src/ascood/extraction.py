"""One pass of the network over a set, kept on disk under a fingerprint.

A cache is used only when the weights, the network, the set and the preprocessing are the ones it was made with;
otherwise it is made anew. The published program reused stored scores without looking.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import distributed, files
from ood_shared.errors import InputError
from ood_shared.files.arrays import read_arrays
from ood_shared.runs import progress
from torch import nn

from ascood.data.loading import TestBatches
from ascood.scores.base import Extract
from ascood.scoring import network_outputs

VERSION = 2  # of what a pass computes; 2: in blocks of rows
CACHE_LIMIT = 2 << 30  # bytes of one set's features that are written


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of settings and hashes in a fixed order."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@torch.no_grad()
def extract(network: nn.Module, batches: TestBatches, precision: str = "fp32", name: str = "") -> Extract:
    """Logits and raw features of a whole set, float32, on the device; the same on every rank.

    Args:
        network: in evaluation mode; with `return_feature`.
        batches: of the set, in order.
        precision: of the forward passes.
        name: for the progress bar.
    """
    logits, features = [], []
    for images in progress(batches, name or batches.samples.name):
        outputs = network_outputs(network, images, len(images), precision)
        logits.append(outputs[0])
        features.append(outputs[1])
    total = len(batches.samples)
    labels = torch.from_numpy(batches.samples.labels).to(batches.device)
    return Extract(
        distributed.gather_rows(torch.cat(logits), total), distributed.gather_rows(torch.cat(features), total), labels
    )


def read_cache(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """The arrays of a cache file; None when there is none, it is damaged, or it was made of something else."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, "cache")
    except InputError:
        return None
    if str(arrays.pop("fingerprint", "")) != key:
        return None
    return arrays


def write_cache(path: Path, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays with their fingerprint, whole or not at all; rank 0 does."""
    if distributed.is_main():
        with files.atomic_path(path) as temporary:
            entries: dict[str, Any] = {**arrays, "fingerprint": np.array(key)}
            np.savez(temporary, **entries)
    distributed.wait_for_all()


def cached_extract(
    path: Path | None,
    key: str,
    network: nn.Module,
    batches: TestBatches,
    precision: str,
    fresh: bool = False,
    stores: bool = True,
) -> Extract:
    """The extract of a set from its cache, or from the network and then into the cache.

    Args:
        path: of the cache; None keeps nothing.
        key: fingerprint of everything that decides the result.
        network: in evaluation mode.
        batches: of the set.
        precision: of the forward passes.
        fresh: ignore what is there.
        stores: whether a missing one is written.
    """
    arrays = None if path is None or fresh else read_cache(path, key)
    if arrays is not None and {"logits", "features", "labels"} <= set(arrays):
        return Extract(*(torch.from_numpy(arrays[n]).to(batches.device) for n in ("logits", "features", "labels")))
    extracted = extract(network, batches, precision)
    if stores and path is not None and extracted.features.numel() * 4 <= CACHE_LIMIT:
        parts = {name: getattr(extracted, name).cpu().numpy() for name in ("logits", "features", "labels")}
        write_cache(path, key, parts)
    return extracted

"""`result.json` and `scores.npz` in the shared convention, from the logits of one pass."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import checkpoints, runs
from ood_shared.bench.schema import measure, pack_scores
from ood_shared.devices import peak_memory
from torch import Tensor

from oodgen.scores import ood_score

METHOD = "oodgen"
PAPER = "Vernekar et al., Out-of-Distribution Detection in Classifiers via Generation, arXiv 1910.04241"


def score_arrays(
    id_name: str, id_logits: Tensor, id_labels: Tensor, ood_logits: Mapping[str, Tensor], score: str
) -> dict[str, np.ndarray]:
    """Arrays of `scores.npz`: ID first, then the outlier sets in order; scores float64, higher = more OOD.

    Predictions are the most probable in-distribution class.

    Args:
        id_name: name of the ID set.
        id_logits: (n, n_classes + 1).
        id_labels: int64 (n,).
        ood_logits: for each set (m, n_classes + 1).
        score: `one_minus_ood`, `max_in` or `max_all`.
    """
    outliers = {name: (ood_score(logits, score), _predicted(logits)) for name, logits in ood_logits.items()}
    return pack_scores(id_name, (ood_score(id_logits, score), id_labels, _predicted(id_logits)), outliers)


def make_result(
    arrays: Mapping[str, np.ndarray],
    *,
    seed: int,
    budget: str,
    config: Mapping[str, Any],
    timings: Mapping[str, float | None],
    device: torch.device,
    checkpoint: Path,
) -> dict[str, Any]:
    """The entries of `result.json`, with 95 % bootstrap intervals drawn from `seed`."""
    metrics, accuracy = measure(arrays, np.random.default_rng(seed))
    id_name, *ood_names = arrays["names"].tolist()
    versions = runs.versions()
    return {
        "method": METHOD,
        "paper": PAPER,
        "id_dataset": id_name,
        "ood_datasets": ood_names,
        "seed": seed,
        "budget": budget,
        "config": dict(config),
        "metrics": metrics,
        "id_accuracy": accuracy,
        "timings": {"train_seconds": None, "train_step_seconds": None, **timings},
        "peak_memory_bytes": peak_memory(device),
        "hardware": runs.hardware(device),
        "versions": versions,
        "commit": versions["commit"],
        "checkpoint_sha256": checkpoints.sha256(checkpoint),
    }


def _predicted(logits: Tensor) -> Tensor:
    return logits[:, :-1].argmax(dim=1)

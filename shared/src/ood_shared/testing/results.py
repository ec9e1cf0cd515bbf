"""Results with random scores, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np

from ood_shared.results.record import measure, pack_scores
from ood_shared.results.schema import Record, ScoreArrays


def result(
    method: str, seed: int, ood: Sequence[str] = ("near", "far"), shift: float = 2.0
) -> tuple[Record, ScoreArrays]:
    """A valid result with random scores.

    Args:
        method: its name.
        seed: of the run and of the scores.
        ood: names of the OOD sets.
        shift: of their scores against those of the ID set.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, 60)
    predictions = np.where(random.random(60) < 0.9, labels, (labels + 1) % 3)
    scores = pack_scores(
        "digits",
        (random.normal(size=60), labels, predictions),
        {name: (random.normal(shift + place, 1, 40), None) for place, name in enumerate(ood)},
    )
    metrics, id_accuracy = measure(scores, random, resamples=50)
    record: Record = {
        "method": method,
        "paper": "Author, Title, Venue 2020",
        "id_dataset": "digits",
        "ood_datasets": list(ood),
        "seed": seed,
        "budget": "smoke",
        "config": {"epochs": 3},
        "metrics": metrics,
        "id_accuracy": id_accuracy,
        "timings": {"train_seconds": 75.0, "train_step_seconds": 0.01, "score_seconds_per_1000": 0.043},
        "peak_memory_bytes": 300 * 2**20,
        "hardware": {"processor": "some cpu"},
        "versions": {"torch": "2.13"},
        "commit": "abc",
        "checkpoint_sha256": None,
    }
    return record, scores

"""`result.json` and `scores.npz` in the shared convention, beside the tables of the original's form."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ood_shared.results.record import make_result, pack_scores, write_result

from ascood.evaluator import Evaluator
from ascood.scores.base import Score

METHOD = "ascood"
PAPER = "Regmi, Image-based Outlier Synthesis With Training Data, arXiv 2411.10794"


def shared_arrays(evaluator: Evaluator, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores (higher = more OOD) of ID test and every OOD set, from the confidences of an evaluation.

    Predictions are the arg-max of the plain logits, as the accuracy of the tables counts them.
    """
    test = evaluator.extract("id/test")
    outliers = {
        source.name: (-arrays[f"{part}/{source.name}/conf"].astype(np.float64), arrays[f"{part}/{source.name}/pred"])
        for part in ("near", "far")
        for source in getattr(evaluator.suite, part)
    }
    confidence = -arrays["id/test/conf"].astype(np.float64)
    return pack_scores(evaluator.suite.name, (confidence, test.labels, test.logits.argmax(1)), outliers)


def write_run_result(
    folder: Path, evaluator: Evaluator, score: Score, arrays: Mapping[str, np.ndarray], options: argparse.Namespace
) -> None:
    """`<run>/results/<score>/result.json` and `scores.npz`."""
    packed = shared_arrays(evaluator, arrays)
    seed = int(folder.name[1:]) if folder.name[1:].isdecimal() else 0
    result = make_result(
        packed,
        method=METHOD,
        paper=PAPER,
        seed=seed,
        budget="full",
        config={"score": score.settings(), "wrapper": options.wrapper_net, "aps": options.aps},
        timings={},
        device=evaluator.device,
        checkpoint=str(evaluator.identity.get("weights")),
    )
    write_result(folder / "results" / score.name, result, packed)

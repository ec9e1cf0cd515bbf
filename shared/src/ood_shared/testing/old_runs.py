"""What a run that an earlier version began and this one resumed has left, beside what that version left of it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RANK_TOLERANCE = 0.02  # of areas under curves


def numbers_of(folder: Path, step: int) -> dict[str, Any]:
    """Of a folder's `result.json` and `scores.npz`: AUROC by set, how many scores, and every `step`-th."""
    result = json.loads((folder / "result.json").read_text())
    with np.load(folder / "scores.npz") as arrays:
        scores = arrays["scores"]
    return {
        "auroc": {name: cells["auroc"]["value"] for name, cells in result["metrics"].items()},
        "n_scores": len(scores),
        "scores": scores[::step].tolist(),
    }


def check_epochs(
    found: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], shares: float, rest: float = 1e-3
) -> None:
    """Rows of epochs must agree: equal on the machine that wrote the old ones, nearly so elsewhere.

    Args:
        found: of the resumed run.
        wanted: of the version that began it, which did not count images.
        shares: tolerance of accuracies and the like, in their unit; sums in another order may turn an image over.
        rest: relative tolerance of all else; such sums differ in the 7th digit, and the steps make more of it.
    """
    for row, old in zip(found, wanted, strict=True):
        assert row.keys() - {"images"} == old.keys()
        for name, value in old.items():
            of_images = re.search("acc|auc|f1", name) is not None
            near = pytest.approx(value, abs=shares) if of_images else pytest.approx(value, rel=rest, abs=1e-4)
            assert row[name] == near, (row["epoch"], name)


def check_scores(found: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float) -> None:
    """What a test printed (`lines`) and `numbers_of` it must agree."""
    assert found["lines"] == wanted["lines"]
    assert found["n_scores"] == wanted["n_scores"]
    assert found["auroc"] == pytest.approx(wanted["auroc"], abs=RANK_TOLERANCE)
    assert found["scores"] == pytest.approx(wanted["scores"], rel=tolerance, abs=tolerance)

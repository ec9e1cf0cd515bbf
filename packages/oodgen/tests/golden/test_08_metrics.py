"""08: the metrics that the documented program, the authors and the field compute from two sets of confidences."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ood_shared.metrics import evaluate
from ood_shared.testing.golden import Golden, cases, check_each, golden_dir
from oodgen.published_metrics import nearest_metrics

GOLDEN = Golden(golden_dir("oodgen", Path(__file__).parent))
ARRAYS, FIGURES = GOLDEN.npz("08_metrics"), GOLDEN.json("08_metrics")
REFERENCE = {  # columns of `_ref`, their names in the json and in the shared convention
    "auroc": "auroc",
    "fpr95": "fpr95_id_positive",
    "fpr80": "fpr80_id_positive",
    "det_err": "detection_error",
    "aupr_in": "aupr_in",
    "aupr_out": "aupr_out",
}
ATOL, SWEEP_ATOL = 1e-6, 1e-3


near = partial(np.testing.assert_allclose, rtol=0, atol=ATOL)


def threshold_sweep(id_confidence: np.ndarray, ood_confidence: np.ndarray) -> float | None:
    """The documented program's unused AUROC by 200,000 thresholds, literally, float32 collapse and all."""
    start = min(id_confidence.min(), ood_confidence.min())
    end = max(id_confidence.max(), ood_confidence.max())
    gap = (end - start) / 200_000  # float32
    if gap == 0:
        return None
    thresholds = np.arange(start, end, gap)
    tpr = 1 - np.searchsorted(np.sort(id_confidence), thresholds, side="left") / len(id_confidence)  # share >= t
    fpr = 1 - np.searchsorted(np.sort(ood_confidence), thresholds, side="right") / len(ood_confidence)  # share > t
    return float((tpr * (np.r_[1.0, fpr[:-1]] - fpr)).sum())


@pytest.mark.parametrize("case", cases(ARRAYS, "*_in", "*_out", "*_seed"))
def test_nearest_metrics_agree(case: str) -> None:
    found = nearest_metrics(ARRAYS[f"{case}_in"], ARRAYS[f"{case}_out"])
    np.testing.assert_allclose(found, ARRAYS[f"{case}_seed"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("case", cases(ARRAYS, "*_in", "*_out", "*_ref"))
def test_shared_metrics_agree(case: str) -> None:
    found = evaluate(-ARRAYS[f"{case}_in"], -ARRAYS[f"{case}_out"])
    np.testing.assert_allclose([found[key] for key in REFERENCE.values()], ARRAYS[f"{case}_ref"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("case", sorted(FIGURES))
def test_nearest_metrics_agree_with_the_named_figures(case: str) -> None:
    found = nearest_metrics(ARRAYS[f"{case}_in"], ARRAYS[f"{case}_out"])
    keys = ("seed_auroc", "seed_fpr95_nearest", "seed_fpr80_nearest")
    check_each(FIGURES[case], dict(zip(keys, found, strict=True)), near)


@pytest.mark.parametrize("case", sorted(FIGURES))
def test_shared_metrics_agree_with_the_named_figures(case: str) -> None:
    found = evaluate(-ARRAYS[f"{case}_in"], -ARRAYS[f"{case}_out"])
    check_each(FIGURES[case]["reference"], {key: found[name] for key, name in REFERENCE.items()}, near)


@pytest.mark.parametrize("case", sorted(FIGURES))
def test_the_threshold_sweep_differs_from_auroc_as_recorded(case: str) -> None:
    found, expected = (
        threshold_sweep(ARRAYS[f"{case}_in"], ARRAYS[f"{case}_out"]),
        FIGURES[case]["threshold_sweep_auroc"],
    )
    assert found == (None if expected is None else pytest.approx(expected, abs=SWEEP_ATOL))

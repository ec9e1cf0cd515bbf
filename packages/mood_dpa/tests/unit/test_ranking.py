"""Average precision and AUROC of voxels, by sorting and by counting in bins."""

import math
import warnings

import numpy as np
import pytest
from mood_dpa.ranking import Ranking, rank_metrics
from sklearn.metrics import average_precision_score, roc_auc_score


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_metrics_equal_scikit_learn_with_ties(dtype: type) -> None:
    draws = np.random.default_rng(0)
    y, s = draws.random(5000) < 0.05, np.round(draws.random(5000), 2).astype(dtype)
    found = rank_metrics(y, s)
    assert found.ap == pytest.approx(average_precision_score(y, s), rel=1e-9)
    assert found.auroc == pytest.approx(roc_auc_score(y, s), rel=1e-9)


def test_counting_in_bins_agrees_with_sorting() -> None:
    draws = np.random.default_rng(1)
    sorting, counting = Ranking(), Ranking(sort_limit=1000)
    for _ in range(3):
        y, s = draws.random(4000) < 0.1, draws.gamma(1, 1, 4000).astype(np.float32)
        for ranking in (sorting, counting):
            ranking.add(y, s + y)
    assert sorting.exact
    assert not counting.exact
    assert counting.metrics().ap == pytest.approx(sorting.metrics().ap, rel=1e-3)
    assert counting.metrics().auroc == pytest.approx(sorting.metrics().auroc, abs=1e-4)


def test_a_single_class_has_no_auroc() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rank_metrics([0, 0], [0.1, 0.2])
    assert found.ap == 0
    assert math.isnan(found.auroc)
    assert caught

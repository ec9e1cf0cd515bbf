"""One-hot rows, log lines, pixels and scores for inputs that nobody thought of."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from oodgen.data.png import to_uint8
from oodgen.published_metrics import nearest_metrics
from oodgen.run_files import RunningMean, format_row
from oodgen.scores import confidence, ood_score
from oodgen.vae import one_hot
from sklearn.metrics import roc_auc_score, roc_curve

SCORES = arrays.arrays(np.float32, st.integers(1, 30), elements=st.integers(0, 8).map(float))  # many ties
FINITE = st.floats(-1e6, 1e6)


@given(st.integers(1, 20), st.data())
def test_one_hot_rows_point_at_their_label(n_classes: int, data: st.DataObject) -> None:
    labels = torch.tensor(data.draw(st.lists(st.integers(0, n_classes - 1), max_size=20)), dtype=torch.int64)
    rows = one_hot(labels, n_classes)
    assert rows.shape == (len(labels), n_classes)
    assert torch.equal(rows.argmax(dim=1), labels)
    assert (rows.sum(dim=1) == 1).all()


@given(st.lists(st.one_of(st.integers(0, 10**6), FINITE), min_size=1, max_size=6))
def test_a_row_reads_back_to_its_values(values: list) -> None:
    words = format_row(values).split(" ")
    assert len(words) == len(values)
    assert all(float(word) == pytest.approx(value, abs=5.1e-5) for word, value in zip(words, values, strict=True))


@given(st.lists(st.tuples(FINITE, st.integers(1, 100)), min_size=1, max_size=20))
def test_the_running_mean_is_the_mean_of_the_repeated_values(updates: list[tuple[float, int]]) -> None:
    meter = RunningMean()
    for value, n in updates:
        meter.update(value, n)
    repeated = np.repeat([value for value, _ in updates], [n for _, n in updates])
    largest = np.abs(repeated).max()
    assert meter.avg == pytest.approx(repeated.mean(), abs=1e-9 * largest + 1e-12)
    assert meter.std == pytest.approx(repeated.std(), abs=1e-6 * largest + 1e-12)


@given(arrays.arrays(np.float32, 12, elements=st.floats(-2, 3, width=32)))
def test_pixels_are_within_half_a_step_of_the_clipped_value(values: np.ndarray) -> None:
    pixels = to_uint8(torch.from_numpy(values)).double().numpy()
    assert np.abs(pixels - 255 * np.clip(values.astype(np.float64), 0, 1)).max() <= 0.5 + 1e-4


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn(id_confidence: np.ndarray, ood_confidence: np.ndarray) -> None:
    truth = np.r_[np.ones(len(id_confidence)), np.zeros(len(ood_confidence))]
    expected = roc_auc_score(truth, np.r_[id_confidence, ood_confidence])
    assert nearest_metrics(id_confidence, ood_confidence).auroc == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES)
def test_the_nearest_points_are_those_of_scikit_learns_curve(
    id_confidence: np.ndarray, ood_confidence: np.ndarray
) -> None:
    truth = np.r_[np.ones(len(id_confidence)), np.zeros(len(ood_confidence))]
    fpr, tpr, _ = roc_curve(truth, np.r_[id_confidence, ood_confidence], drop_intermediate=True)
    found = nearest_metrics(id_confidence, ood_confidence)
    for level, value in ((0.95, found.fpr95), (0.80, found.fpr80)):
        assert value == pytest.approx(fpr[np.abs(tpr - level).argmin()], abs=1e-12)


@given(SCORES, SCORES)
def test_turning_the_confidence_round_turns_the_area_round(
    id_confidence: np.ndarray, ood_confidence: np.ndarray
) -> None:
    there, back = nearest_metrics(id_confidence, ood_confidence), nearest_metrics(-id_confidence, -ood_confidence)
    assert there.auroc + back.auroc == pytest.approx(1, abs=1e-12)


@given(arrays.arrays(np.float64, (5, 4), elements=st.floats(-30, 30)), st.sampled_from(["one_minus_ood", "max_in"]))
def test_scores_and_confidences_add_up(logits: np.ndarray, kind: str) -> None:
    found = ood_score(torch.from_numpy(logits), kind) + confidence(torch.from_numpy(logits).softmax(dim=1), kind)
    expected = 1.0 if kind == "one_minus_ood" else 0.0
    assert all(math.isclose(value, expected, abs_tol=1e-12) for value in found.tolist())

"""12: the documented evaluation, batch by batch, and the pooled one."""

import numpy as np
import pytest
from ood_shared.metrics import evaluate
from ood_shared.testing.golden import Golden, tensors
from oodgen.published_metrics import NearestMetrics, batch_averaged_auroc
from oodgen.scores import confidence

ATOL = 1e-6
COLUMNS = ("auroc", "fpr95_id_positive", "fpr80_id_positive", "detection_error", "aupr_in", "aupr_out")


@pytest.fixture
def arrays(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("12_test_protocol")


def split(arrays: dict, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Confidences in the given order, and which images are outliers: those of the last class."""
    (probabilities,) = tensors(arrays, "prob")
    return confidence(probabilities, kind).numpy(), arrays["target"] == probabilities.shape[1] - 1


def documented(arrays: dict, meta: dict) -> tuple[float, list[NearestMetrics]]:
    return batch_averaged_auroc(*split(arrays, "max_all"), meta["protocol_batch_size"])


def test_every_batch_agrees(arrays: dict, meta: dict) -> None:
    np.testing.assert_allclose(documented(arrays, meta)[1], arrays["batch_auroc"], rtol=0, atol=ATOL)


def test_the_average_over_batches_agrees(arrays: dict, meta: dict) -> None:
    np.testing.assert_allclose(documented(arrays, meta)[0], arrays["averaged_auroc"], rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("kind", "key"), [("max_all", "max_all"), ("max_in", "max_first_n"), ("one_minus_ood", "one_minus_last")]
)
def test_pooled_metrics_agree(kind: str, key: str, arrays: dict) -> None:
    values, is_ood = split(arrays, kind)
    found = evaluate(-values[~is_ood], -values[is_ood])
    np.testing.assert_allclose([found[column] for column in COLUMNS], arrays[f"pooled_{key}"], rtol=0, atol=ATOL)

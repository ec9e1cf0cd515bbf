"""energy_scores, margin_loss, class_weights, lr_schedule and metrics: numbers without a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.data.classes import class_counts, class_weights, recode, sample_weights
from know_your_space.legacy_metrics import NAMES, legacy_metrics, sweep
from know_your_space.losses import confidence, cross_entropy, margin_loss
from know_your_space.schedule import learning_rate
from ood_shared.testing.golden import Golden, golden_dir, names, tensors

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
ENERGY = GOLDEN.npz("energy_scores")
MARGIN = GOLDEN.npz("margin_loss")
CLASSES = GOLDEN.npz("class_weights")
SCHEDULE = GOLDEN.npz("lr_schedule")
METRICS = GOLDEN.npz("metrics")
CASES = sorted(map(str, METRICS["case_names"]))
MARGIN_RTOL, WEIGHT_RTOL = 1e-5, 1e-6


@pytest.mark.parametrize("name", names(ENERGY, "neg_energy*"))
def test_confidences_agree(name: str) -> None:
    case, temperature = name.split("_T")
    found = confidence(*tensors(ENERGY, f"logits{case}"), float(temperature))
    np.testing.assert_allclose(found, ENERGY[f"neg_energy{name}"], rtol=1e-6)


def margin(case: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    latent, pixel = (t.requires_grad_() for t in tensors(MARGIN, f"logits_latent{case}", f"logits_pixel{case}"))
    found = margin_loss(latent, pixel, *(float(MARGIN[f"{key}{case}"]) for key in ("m_in", "m_out", "T")))
    found.total.backward()
    return found.inliers, found.outliers, latent.grad, pixel.grad


@pytest.mark.parametrize("case", names(MARGIN, "logits_latent*", "margin*"))
def test_both_hinges_agree(case: str) -> None:
    inliers, outliers, _, _ = margin(case)
    np.testing.assert_allclose(inliers.item(), MARGIN[f"term_in{case}"], rtol=MARGIN_RTOL)
    np.testing.assert_allclose(outliers.item(), MARGIN[f"term_out{case}"], rtol=MARGIN_RTOL)
    np.testing.assert_allclose((inliers + outliers).item(), MARGIN[f"margin{case}"], rtol=MARGIN_RTOL)


@pytest.mark.parametrize("case", names(MARGIN, "grad_latent*", "grad_pixel*"))
def test_gradients_of_the_margin_loss_agree(case: str) -> None:
    _, _, latent, pixel = margin(case)
    for found, expected in ((latent, MARGIN[f"grad_latent{case}"]), (pixel, MARGIN[f"grad_pixel{case}"])):
        np.testing.assert_allclose(found, expected, rtol=MARGIN_RTOL, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("case", names(CLASSES, "labels*", "class_weight*"))
def test_class_and_sample_weights_agree(case: str) -> None:
    counts = class_counts(*tensors(CLASSES, f"labels{case}"), len(CLASSES[f"class_weight{case}"]))
    np.testing.assert_allclose(class_weights(counts), CLASSES[f"class_weight{case}"], rtol=WEIGHT_RTOL)
    expected = CLASSES[f"sample_weight_per_class{case}"]
    np.testing.assert_allclose(sample_weights(counts), expected, rtol=WEIGHT_RTOL)


@pytest.mark.parametrize("case", names(CLASSES, "ce_logits*", "ce_target*"))
def test_cross_entropies_agree(case: str) -> None:
    found = cross_entropy(*tensors(CLASSES, f"ce_logits{case}", f"ce_target{case}", f"class_weight{case}"))
    np.testing.assert_allclose(found.item(), CLASSES[f"ce{case}"], rtol=WEIGHT_RTOL)


def test_labels_are_recoded_as_published() -> None:
    np.testing.assert_array_equal(recode(CLASSES["labelenc_raw"]), CLASSES["labelenc_out"])


@pytest.mark.parametrize("run", sorted(SCHEDULE))
def test_learning_rates_agree(run: str) -> None:
    (first, lr), rows = SCHEDULE[run][0], SCHEDULE[run]
    found = [learning_rate(int(epoch), int(first), lr) for epoch in rows[:, 0]]
    np.testing.assert_allclose(found, rows[:, 1], rtol=0, atol=1e-12)


def test_there_are_metric_cases() -> None:
    assert CASES


@pytest.mark.parametrize("case", CASES)
def test_legacy_metrics_agree(case: str) -> None:
    found = legacy_metrics(METRICS[f"{case}/known"], METRICS[f"{case}/novel"])
    np.testing.assert_allclose([found[name] for name in NAMES], METRICS[f"{case}/result"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", names(METRICS, "*/tp", "*/fp"))
def test_the_sweep_counts_agree(case: str) -> None:
    tp, fp = sweep(METRICS[f"{case}/known"], METRICS[f"{case}/novel"])
    np.testing.assert_array_equal(tp, METRICS[f"{case}/tp"])
    np.testing.assert_array_equal(fp, METRICS[f"{case}/fp"])

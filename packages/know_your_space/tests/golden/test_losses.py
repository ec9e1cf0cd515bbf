"""energy_scores, margin_loss, class_weights, lr_schedule and metrics: numbers without a network."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.data.classes import balanced_draws, class_counts, class_weights, recode, sample_weights
from know_your_space.legacy_metrics import NAMES, legacy_metrics, sweep
from know_your_space.losses import confidence, cross_entropy, margin_loss
from know_your_space.schedule import learning_rate
from ood_shared.testing.golden import Golden, cases, check_each, golden_dir, listed, stems, tensors

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
ENERGY = GOLDEN.npz("energy_scores")
MARGIN = GOLDEN.npz("margin_loss")
CLASSES = GOLDEN.npz("class_weights")
SCHEDULE = GOLDEN.npz("lr_schedule")
METRICS = GOLDEN.npz("metrics")
CASES = listed(METRICS, "case_names")
TEMPERATURES = {key.rsplit("_T", 1)[1] for key in ENERGY if key.startswith("neg_energy")}
MARGIN_RTOL, WEIGHT_RTOL = 1e-5, 1e-6


@pytest.mark.parametrize("temperature", sorted(TEMPERATURES))
@pytest.mark.parametrize(
    "case", sorted({key.removeprefix("neg_energy").removeprefix("logits").split("_T")[0] for key in ENERGY})
)
def test_confidences_agree(case: str, temperature: str) -> None:
    found = confidence(*tensors(ENERGY, f"logits{case}"), float(temperature))
    np.testing.assert_allclose(found, ENERGY[f"neg_energy{case}_T{temperature}"], rtol=1e-6)


def margin(case: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    latent, pixel = (t.requires_grad_() for t in tensors(MARGIN, f"logits_latent{case}", f"logits_pixel{case}"))
    found = margin_loss(latent, pixel, *(float(MARGIN[f"{key}{case}"]) for key in ("m_in", "m_out", "T")))
    found.total.backward()
    return found.inliers, found.outliers, latent.grad, pixel.grad


MARGINS = cases(MARGIN, "logits_latent*", "logits_pixel*", "m_in*", "m_out*", "T*")


@pytest.mark.parametrize("case", MARGINS)
def test_both_hinges_agree(case: str) -> None:
    inliers, outliers, _, _ = margin(case)
    found = {"term_in": inliers.item(), "term_out": outliers.item(), "margin": (inliers + outliers).item()}
    near = partial(np.testing.assert_allclose, rtol=MARGIN_RTOL)
    check_each(MARGIN, {f"{key}{case}": value for key, value in found.items()}, near)


@pytest.mark.parametrize("case", MARGINS)
def test_gradients_of_the_margin_loss_agree(case: str) -> None:
    def near(found: torch.Tensor, expected: np.ndarray) -> None:
        np.testing.assert_allclose(found, expected, rtol=MARGIN_RTOL, atol=1e-6 * np.abs(expected).max())

    _, _, latent, pixel = margin(case)
    check_each(MARGIN, {f"grad_latent{case}": latent, f"grad_pixel{case}": pixel}, near)


@pytest.mark.parametrize("case", stems(CLASSES, "labels*", "class_weight*", "sample_weight_per_class*"))
def test_class_and_sample_weights_agree(case: str) -> None:
    (labels,) = tensors(CLASSES, f"labels{case}")
    keys = f"class_weight{case}", f"sample_weight_per_class{case}"
    classes = next((len(CLASSES[key]) for key in keys if key in CLASSES), int(labels.max()) + 1)
    counts = class_counts(labels, classes)
    near = partial(np.testing.assert_allclose, rtol=WEIGHT_RTOL)
    check_each(CLASSES, dict(zip(keys, (class_weights(counts), sample_weights(counts)), strict=True)), near)


@pytest.mark.parametrize("case", stems(CLASSES, "labels*", "num_samples*", "replacement*"))
def test_the_sampler_draws_as_many_as_there_are_images_with_replacement(case: str) -> None:
    (labels,) = tensors(CLASSES, f"labels{case}")
    counts = class_counts(labels, int(labels.max()) + 1)
    draws = balanced_draws(labels, counts, torch.Generator().manual_seed(0))
    found = {f"num_samples{case}": len(draws), f"replacement{case}": len(draws.unique()) < len(draws)}
    check_each(CLASSES, found, np.testing.assert_array_equal)


@pytest.mark.parametrize("case", stems(CLASSES, "ce_logits*", "ce_target*"))
def test_cross_entropies_agree(case: str) -> None:
    found = cross_entropy(*tensors(CLASSES, f"ce_logits{case}", f"ce_target{case}", f"class_weight{case}"))
    np.testing.assert_allclose(found.item(), CLASSES[f"ce{case}"], rtol=WEIGHT_RTOL)


def test_labels_are_recoded_as_published() -> None:
    np.testing.assert_array_equal(recode(CLASSES["labelenc_raw"]), CLASSES["labelenc_out"])


@pytest.mark.parametrize("run", sorted(run for run, rows in SCHEDULE.items() if rows.shape[1:] == (2,)))
def test_learning_rates_agree(run: str) -> None:
    (first, lr), rows = SCHEDULE[run][0], SCHEDULE[run]
    found = [learning_rate(int(epoch), int(first), lr) for epoch in rows[:, 0]]
    np.testing.assert_allclose(found, rows[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_legacy_metrics_agree(case: str) -> None:
    found = legacy_metrics(METRICS[f"{case}/known"], METRICS[f"{case}/novel"])
    np.testing.assert_allclose([found[name] for name in NAMES], METRICS[f"{case}/result"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", stems(METRICS, "*/tp", "*/fp"))
def test_the_sweep_counts_agree(case: str) -> None:
    tp, fp = sweep(METRICS[f"{case}/known"], METRICS[f"{case}/novel"])
    check_each(METRICS, {f"{case}/tp": tp, f"{case}/fp": fp}, np.testing.assert_array_equal)

"""Test scores: identities, the literal gradient norm, and no ties where float32 has them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imood import longtail, scores
from imood.models import n_outputs_of
from imood.scores import BALANCED, METRICS, PLAIN, Outputs
from ood_shared.errors import InputError

from ..literal import gradient_norms

COUNTS = [50, 20, 5]
UNIFORM, PRIOR = (longtail.log_prior(longtail.adjustments(COUNTS, tau)) for tau in (0.0, 1.0))


def outputs(metric="energy", n=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_outputs_of(metric, len(COUNTS)), generator=g)
    return Outputs(logits, torch.randn(n, 6, generator=g), torch.rand(n, generator=g) * 9)


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_normalised_energy_moves_scores_by_minus_the_bias_and_no_prediction(seed):
    found = outputs(seed=seed)
    moved = found.scores("ada_energy", PRIOR) - found.scores("energy", PRIOR)
    torch.testing.assert_close(moved, -found.log_beta("energy", PRIOR))
    assert torch.equal(found.predictions("ada_energy"), found.predictions("energy"))


@pytest.mark.parametrize("metric", [name for name in BALANCED if name != "ada_maha"])
def test_at_tau_0_normalised_scores_rank_as_the_plain_ones(metric):
    found = outputs(metric, 40)
    plain = found.scores(metric.removeprefix("ada_"), UNIFORM)
    assert torch.equal(found.scores(metric, UNIFORM).argsort(), plain.argsort())


def test_the_bias_is_negative_on_head_like_and_positive_on_tail_like_rows():
    logits = torch.tensor([[8.0, 0, 0], [0, 0, 8.0]])
    head, tail = Outputs(logits, torch.zeros(2, 1)).log_beta("energy", PRIOR).tolist()
    assert head < 0 < tail


def test_the_gradient_norm_is_that_of_automatic_differentiation():
    g = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(5, 7, generator=g).double(), torch.randn(5, generator=g).double()
    features = torch.randn(9, 7, generator=g).double()
    found = Outputs(features @ weight.T + bias, features).gradient_norm()
    torch.testing.assert_close(found, gradient_norms(weight, bias, features))


def test_confident_rows_do_not_tie():
    """1 - sigmoid(u) is 0 in float32 for all of these, and the largest probability is 1."""
    u = torch.tensor([20.0, 25.0, 30.0, 35.0])
    logits = torch.stack([u, torch.zeros(4), torch.zeros(4), u], dim=1)
    found = Outputs(logits, torch.zeros(4, 1))
    assert (1 - torch.sigmoid(u)).unique().numel() == 1
    assert (found.scores("bin_disc", PRIOR).diff() < 0).all()
    assert (found.scores("msp", PRIOR)[:3].diff() < 0).all()


def test_the_legacy_sign_mirrors_the_distance():
    found = outputs()
    torch.testing.assert_close(found.scores("maha", PRIOR, "legacy"), -found.scores("maha", PRIOR))
    bias = 0.01 * found.log_beta("energy", PRIOR)
    torch.testing.assert_close(found.scores("ada_maha", PRIOR), found.distances.double() - bias)
    torch.testing.assert_close(found.scores("ada_maha", PRIOR, "legacy"), -(found.distances.double() + bias))


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_float64_one_a_row_and_do_not_change_the_logits(metric):
    found = outputs(metric)
    before = found.logits.clone()
    values = found.scores(metric, PRIOR)
    assert values.dtype == torch.float64
    assert values.shape == (12,)
    assert torch.isfinite(values).all()
    assert torch.equal(found.logits, before)


def test_background_may_be_predicted():
    found = Outputs(torch.tensor([[0.0, 1, 2, 9]]), torch.zeros(1, 1))
    assert found.predictions("bkg_c").item() == 3
    assert found.predictions("bin_disc").item() == 2


def test_every_metric_fits_one_number_of_outputs():
    found = [name for n in (3, 4, 5) for name in scores.fitting(n, 3)]
    assert sorted(found) == sorted(METRICS) == sorted([*PLAIN, *BALANCED])


@pytest.mark.parametrize(
    ("metric", "sign", "word"), [("mps", "fixed", "mps"), ("maha", "inverted", "inverted"), ("maha", "fixed", "pool")]
)
def test_wrong_words_and_missing_distances_are_refused(metric, sign, word):
    found = Outputs(torch.zeros(1, 3), torch.zeros(1, 2))
    with pytest.raises(InputError, match=word):
        found.scores(metric, PRIOR, sign)

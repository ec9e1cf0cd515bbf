"""Test scores: identities, the literal gradient norm, and no ties where float32 has them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imood import longtail, scores
from imood.metrics import n_outputs_of
from imood.scores import BALANCED, JOINT, METRICS, PLAIN, Outputs
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


def test_the_joint_score_is_the_log_of_both_probabilities():
    """Bitterwolf et al., ICML 2022: P(ID | x) max_y P(y | x), with the house's sign."""
    logits = torch.tensor([[math.log(6), math.log(3), 0.0, math.log(3)]])  # P(y) = 0.6, 0.3, 0.1 and P(ID) = 3/4
    found = Outputs(logits, torch.zeros(1, 1)).scores("bin_disc_joint", PRIOR)
    assert found.item() == pytest.approx(-math.log(0.75 * 0.6), rel=1e-6)


@given(st.integers(0, 99), st.floats(0.1, 20))
@settings(max_examples=30, deadline=None)
def test_the_joint_score_rises_when_either_probability_falls(seed, step):
    found = outputs("bin_disc", 30, seed)
    less_id = Outputs(found.logits - torch.tensor([0.0, 0, 0, step]), found.features)
    flatter = Outputs(found.logits * torch.tensor([1 / (1 + step)] * 3 + [1.0]), found.features)
    plain = found.scores("bin_disc_joint", PRIOR)
    assert (less_id.scores("bin_disc_joint", PRIOR) > plain).all()
    assert (flatter.scores("bin_disc_joint", PRIOR) > plain).all()
    assert (plain >= 0).all()


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_with_a_sure_class_the_joint_score_ranks_as_bin_disc_and_with_a_sure_id_as_msp(seed):
    found = outputs("bin_disc", 30, seed)
    sure_class, sure_id = found.logits.clone(), found.logits.clone()
    sure_class[:, :3] = torch.tensor([60.0, 0, 0])
    sure_id[:, 3] = 60
    for logits, plain, columns in ((sure_class, "bin_disc", 4), (sure_id, "msp", 3)):
        joint = Outputs(logits, found.features).scores("bin_disc_joint", PRIOR)
        alone = Outputs(logits[:, :columns], found.features).scores(plain, PRIOR)
        assert torch.equal(joint.argsort(), alone.argsort())


def test_the_joint_score_tells_confident_rows_apart_and_stays_finite_far_out():
    u = torch.tensor([-1000.0, -30.0, 20.0, 30.0])
    logits = torch.stack([torch.full((4,), 40.0), torch.zeros(4), torch.zeros(4), u], dim=1)
    found = Outputs(logits, torch.zeros(4, 1)).scores("bin_disc_joint", PRIOR)
    assert torch.isfinite(found).all()
    assert (found.diff() < 0).all()


@pytest.mark.parametrize("metric", [name for name in BALANCED if name != "ada_maha"])
def test_a_training_with_tau_0_has_the_published_posterior(metric):
    found = outputs(metric, 40)
    trained = longtail.adjustments(COUNTS, 0.0)
    assert torch.equal(found.scores(metric, PRIOR, trained=trained), found.scores(metric, PRIOR))


@given(st.integers(0, 99), st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=20, deadline=None)
def test_the_prior_of_the_training_is_divided_out_once(seed, tau):
    """Logits of a network that learnt softmax(z + tau ln pi) are those of a plain one with the prior taken off."""
    plain = outputs("ada_bin_disc", 30, seed)
    adjustment = longtail.adjustments(COUNTS, tau)
    off = torch.cat([plain.logits[:, :3] - adjustment, plain.logits[:, 3:]], dim=1)
    adjusted = Outputs(off, plain.features)
    consistent = adjusted.log_beta("ada_bin_disc", PRIOR, adjustment)
    torch.testing.assert_close(consistent, plain.log_beta("ada_bin_disc", PRIOR), rtol=1e-5, atol=1e-5)
    moved = adjusted.scores("ada_bin_disc", PRIOR, trained=adjustment) - adjusted.scores("ada_bin_disc", PRIOR)
    torch.testing.assert_close(moved, adjusted.log_beta("ada_bin_disc", PRIOR) - consistent)


def test_the_published_posterior_of_a_balanced_softmax_corrects_twice():
    """Rows that a network trained with tau = 1 holds for each class equally get a bias; the consistent one has none."""
    trained = longtail.adjustments(COUNTS, 1.0)
    even = Outputs(torch.zeros(1, 4), torch.zeros(1, 1))
    assert even.log_beta("ada_bin_disc", PRIOR, trained).item() == pytest.approx(0, abs=1e-6)
    assert even.log_beta("ada_bin_disc", PRIOR).item() > 0.3


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
    assert sorted(found) == sorted(METRICS) == sorted([*PLAIN, *JOINT, *BALANCED])


@pytest.mark.parametrize(
    ("trained", "fits"),
    [
        ("bkg_c", ["bkg_c"]),
        ("ada_bin_disc", ["bin_disc", "bin_disc_joint", "ada_bin_disc"]),
        ("oe", []),  # the further output is a class that the data lacks
        (None, ["bkg_c", "bin_disc", "bin_disc_joint", "ada_bin_disc"]),
    ],
)
def test_a_further_output_is_what_it_was_trained_to_be(trained, fits):
    assert scores.fitting(4, 3, trained) == fits


def test_a_metric_of_another_training_is_refused():
    with pytest.raises(InputError, match=r"bkg_c: the checkpoint was trained with ada_bin_disc, .* It fits bin_disc,"):
        scores.choose_metrics("bkg_c", 4, 3, "ada_bin_disc")
    assert scores.choose_metrics("all", 4, 3, "bkg_c") == ("bkg_c",)
    assert "bkg_c" not in scores.choose_metrics("all", 4, 3)


@pytest.mark.parametrize(
    ("metric", "sign", "word"), [("mps", "fixed", "mps"), ("maha", "inverted", "inverted"), ("maha", "fixed", "pool")]
)
def test_wrong_words_and_missing_distances_are_refused(metric, sign, word):
    found = Outputs(torch.zeros(1, 3), torch.zeros(1, 2))
    with pytest.raises(InputError, match=word):
        found.scores(metric, PRIOR, sign)

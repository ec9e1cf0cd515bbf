"""The losses against their literal forms, and the identities that they keep."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from imood import contrastive, losses
from imood.heads import HeadsOnly
from imood.longtail import adjustments
from imood.losses import Objective, training_losses
from imood.pool import FeaturePool
from ood_shared.errors import InputError

from ..literal import balanced_terms, contrastive_with_class_loop

COUNTS = [40, 20, 10, 5]
C = len(COUNTS)


def case(metric, n=6, m=5, dim=7, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    outputs = C + {"bin_disc": 1, "ada_bin_disc": 1, "bkg_c": 1, "mc_disc": 2}.get(metric, 0)
    torch.manual_seed(seed)
    heads = HeadsOnly(dim, C).to(dtype)
    logits = torch.randn(2 * n + m, outputs, generator=g, dtype=dtype, requires_grad=True)
    features = torch.randn(2 * n + m, dim, generator=g, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, C, (n,), generator=g)
    pool = FeaturePool([2] * C, dim, dtype=dtype)
    for _ in range(3):
        pool.update(torch.randn(C, dim, generator=g, dtype=dtype), torch.arange(C))
    return logits, features, labels, adjustments(COUNTS, 1.0, metric == "bkg_c"), heads, pool


def total(objective, parts):
    return losses.Losses(*training_losses(objective, *parts))


@pytest.mark.parametrize("metric", losses.METRICS)
def test_every_metric_has_finite_losses_and_gradients(metric):
    parts = case(metric)
    found = total(Objective(metric, C), parts)
    (found.id_loss + found.ood_loss).backward()
    assert torch.isfinite(parts[0].grad).all()
    assert found.aux_loss == 0


@pytest.mark.parametrize("metric", losses.METRICS)
def test_half_precision_outputs_give_float32_losses(metric):
    logits, features, *rest = case(metric, dtype=torch.float32)
    found = training_losses(Objective(metric, C), logits.bfloat16(), features.bfloat16(), *rest)
    assert {part.dtype for part in found} == {torch.float32}


@given(seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_balanced_rows_are_those_of_the_paper(seed):
    logits, features, labels, adjustment, heads, _ = case("ada_bin_disc", seed=seed)
    z, u = losses.split_outputs("ada_bin_disc", logits)
    rows = losses.balanced_rows(u.squeeze(1), z, features, labels, adjustment, heads)
    is_id = torch.arange(len(z)) < 2 * len(labels)
    smooth = 0.8 * F.one_hot(labels.repeat(2), C) + 0.2 / C
    share = torch.cat([smooth, torch.softmax(z, 1)[2 * len(labels) :]])
    prior = torch.tensor(COUNTS) / sum(COUNTS)
    beta, delta, regulariser, likelihood = balanced_terms(u.squeeze(1), heads.gamma(features), share, prior, is_id)
    near = {"rtol": 1e-5, "atol": 1e-7}  # the adjustments are float32
    torch.testing.assert_close(rows.log_beta.exp(), beta, **near)
    torch.testing.assert_close(rows.delta, delta, **near)
    torch.testing.assert_close(rows.regulariser, regulariser, **near)
    torch.testing.assert_close(rows.likelihood, likelihood, **near)


def test_the_regulariser_reaches_gamma_only_and_the_likelihood_g_only():
    logits, features, labels, adjustment, heads, _ = case("ada_energy")
    z, u = losses.split_outputs("ada_energy", logits)
    g = losses.balanced_logit("ada_energy", u, features, heads, None)
    rows = losses.balanced_rows(g, z, features, labels, adjustment, heads)
    by_regulariser = torch.autograd.grad(
        rows.regulariser.sum(), [logits, heads.lambda_linear.weight], retain_graph=True, allow_unused=True
    )
    assert by_regulariser[0] is None
    assert by_regulariser[1].any()
    by_likelihood = torch.autograd.grad(rows.likelihood.sum(), [logits, heads.lambda_linear.weight], allow_unused=True)
    assert by_likelihood[0].any()
    assert by_likelihood[1] is None


@pytest.mark.parametrize("g", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_extreme_logits_keep_the_balanced_loss_finite(g):
    """Also where beta is exactly 1: (beta - 1) e^g must not become 0 times infinity."""
    logits, features, labels, _, heads, _ = case("ada_bin_disc")
    with torch.no_grad():
        heads.lambda_linear.weight.zero_()
        logits[:, :C] = 0
        logits[:, C] = g
    logits = logits.detach().requires_grad_()
    found = training_losses(Objective("ada_bin_disc", C), logits, features, labels, torch.zeros(1, C), heads)
    found.ood_loss.backward()
    assert torch.isfinite(found.ood_loss)
    assert torch.isfinite(logits.grad).all()


def test_ada_oe_adds_the_plain_outlier_exposure():
    logits, features, labels, adjustment, heads, _ = case("ada_oe")
    z, u = losses.split_outputs("ada_oe", logits)
    rows = losses.balanced_rows(
        losses.balanced_logit("ada_oe", u, features, heads, None), z, features, labels, adjustment, heads
    )
    expected = rows.regulariser.mean() + rows.likelihood.mean() + losses.outlier_exposure(u[2 * len(labels) :])
    found = training_losses(Objective("ada_oe", C), logits, features, labels, adjustment, heads)
    torch.testing.assert_close(found.ood_loss, expected)


def test_mc_disc_trains_the_direction_that_its_score_reads():
    """Target 1 is OOD, as the second column is the score."""
    logits = torch.tensor([[0.0, 0, 0, 0, 9, -9], [0.0, 0, 0, 0, 9, -9], [0.0, 0, 0, 0, -9, 9]])
    found = training_losses(
        Objective("mc_disc", C), logits, torch.zeros(3, 2), torch.tensor([1]), torch.zeros(1, C), HeadsOnly(2, C)
    )
    assert found.ood_loss < 1e-6


def test_bkg_c_sends_every_outlier_to_the_background_column():
    logits, features, labels, adjustment, heads, _ = case("bkg_c")
    rest = logits[2 * len(labels) :]
    expected = F.cross_entropy(rest, torch.full((len(rest),), C))
    found = training_losses(Objective("bkg_c", C), logits, features, labels, adjustment, heads)
    torch.testing.assert_close(found.ood_loss, expected)


def test_the_energy_margins_depend_on_ten_classes_or_not():
    logits = torch.tensor([20.0, 20, -20]).view(3, 1).expand(3, 10)  # ID energy -22.3: above -23 and above -27
    parts = (torch.zeros(3, 2), torch.tensor([0]), torch.zeros(1, 10), HeadsOnly(2, 10))
    ten = training_losses(Objective("energy", 10), logits, *parts).ood_loss
    energy = -torch.logsumexp(logits[0], 0)
    torch.testing.assert_close(ten, 0.2 * (energy + 23).clamp(min=0) ** 2)
    eleven = training_losses(Objective("energy", 11), logits, *parts).ood_loss
    torch.testing.assert_close(eleven, 0.2 * (energy + 27) ** 2)


def test_maha_without_a_full_pool_sees_the_bias_of_its_head():
    logits, features, labels, adjustment, heads, _ = case("maha")
    empty = FeaturePool([2] * C, features.shape[1])
    found = training_losses(Objective("maha", C), logits, features, labels, adjustment, heads, empty)
    bias = heads.aux_linear.bias
    is_id = (torch.arange(len(logits)) < 2 * len(labels)).double()
    expected = F.binary_cross_entropy_with_logits(bias.expand(len(logits)), is_id)
    torch.testing.assert_close(found.ood_loss, expected)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_contrastive_loss_is_that_of_the_class_loop(n, m, seed):
    g = torch.Generator().manual_seed(seed)
    views = F.normalize(torch.randn(n, 2, 5, generator=g, dtype=torch.float64), dim=2)
    ood = F.normalize(torch.randn(m, 5, generator=g, dtype=torch.float64), dim=1)
    labels = torch.randint(0, 4, (n,), generator=g)
    found = contrastive.pascl_loss(views, ood, labels, 0.1)
    torch.testing.assert_close(found, contrastive_with_class_loop(views, ood, labels, 0.1, 4, torch.ones(4)))


def test_a_weight_of_minus_one_no_longer_reverses_the_first_tail_class():
    """At k = 0.55 and 10 classes the published weights have -1 for the first tail class."""
    assert contrastive.class_weights(10, 0.55)[contrastive.tail_start(10, 0.55)] == -1
    heads = HeadsOnly(5, 10)
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([contrastive.tail_start(10, 0.55)] * 2)
    assert contrastive.pascl(features, labels, heads, 10, 0.55, 0.1) > 0


def test_pascl_without_a_tail_image_is_0_and_has_no_graph():
    heads = HeadsOnly(5, 10)
    features = torch.randn(6, 5, requires_grad=True)
    loss = contrastive.pascl(features, torch.tensor([0, 1]), heads, 10, 0.4, 0.1)
    assert loss == 0
    assert not loss.requires_grad


def test_simclr_reads_channel_0_before_normalising():
    heads = HeadsOnly(5, 3)
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    expected = F.binary_cross_entropy_with_logits(
        heads.projection(features)[:, 0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0])
    )
    torch.testing.assert_close(contrastive.simclr(features, 4, heads), expected)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"metric": "ada_msp"}, "ada_msp"),
        ({"metric": "oe", "aux": "moco"}, "moco"),
        ({"metric": "oe", "k": 0}, "--k"),
        ({"metric": "oe", "k": 1.5}, "--k"),
        ({"metric": "oe", "temperature": 0}, "--T"),
    ],
)
def test_wrong_objectives_are_refused(fields, word):
    with pytest.raises(InputError, match=word):
        Objective(n_classes=C, **fields)

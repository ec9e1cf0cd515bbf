"""Losses by hand and by identities."""

import math

import pytest
import torch
from know_your_space.losses import confidence, cross_entropy, margin_loss

FLAT = torch.zeros(1, 4)  # energy -log 4


def test_the_hinges_are_squared_distances_from_the_margins() -> None:
    found = margin_loss(FLAT, FLAT, m_in=-2.0, m_out=-1.0)
    torch.testing.assert_close(found.inliers, torch.tensor((2 - math.log(4)) ** 2))
    torch.testing.assert_close(found.outliers, torch.tensor((math.log(4) - 1) ** 2))


def test_energies_beyond_their_margins_cost_nothing() -> None:
    assert margin_loss(FLAT + 30, FLAT, m_in=-20, m_out=-7).total == 0


def test_each_hinge_is_a_mean_over_its_rows() -> None:
    once = margin_loss(FLAT, FLAT, -2, -1)
    many = margin_loss(FLAT.repeat(5, 1), FLAT.repeat(3, 1), -2, -1)
    torch.testing.assert_close(tuple(many), tuple(once))


@pytest.mark.parametrize("nothing", [None, torch.zeros(0, 4)])
def test_a_population_that_is_left_out_costs_nothing(nothing: torch.Tensor | None) -> None:
    assert margin_loss(nothing, FLAT, -2, -1).inliers == 0
    assert margin_loss(FLAT, nothing, -2, -1).outliers == 0
    assert margin_loss(nothing, nothing).total == 0


def test_gradients_push_inliers_down_and_outliers_up() -> None:
    inliers, outliers = FLAT.clone().requires_grad_(), FLAT.clone().requires_grad_()
    margin_loss(inliers, outliers, -20, -1).total.backward()
    assert (inliers.grad < 0).all()  # larger logits, lower energy
    assert (outliers.grad > 0).all()


def test_the_gradient_of_the_hinges_is_right() -> None:
    rows = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: margin_loss(z, z.flip(0), -3.0, -1.0, 1.5).total, rows)


def test_temperature_one_is_the_default_of_the_confidence() -> None:
    assert confidence(FLAT).item() == pytest.approx(math.log(4))


def test_half_precision_logits_give_a_float32_loss() -> None:
    rows = torch.randn(4, 3).bfloat16()
    wide = margin_loss(rows.float(), rows.float())
    torch.testing.assert_close(tuple(margin_loss(rows, rows)), tuple(wide))


def test_equal_weights_give_the_plain_cross_entropy() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(cross_entropy(logits, labels, torch.full((3,), 0.3)), plain)


def test_the_cross_entropy_divides_by_the_weights_of_the_batch() -> None:
    logits, labels, weights = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([1.0, 3.0])
    torch.testing.assert_close(cross_entropy(logits, labels, weights), torch.tensor(math.log(2)))


def test_a_single_class_costs_nothing_instead_of_nan() -> None:
    logits = torch.randn(4, 1, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(4, dtype=torch.int64), torch.zeros(1))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()

"""Scores from logits, by hand and by identities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ood_shared.errors import InputError
from ood_shared.scores import energy, entropy, max_logit, msp

ROWS = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
ALL = [msp, max_logit, energy, entropy]


def test_msp_is_minus_the_largest_probability() -> None:
    torch.testing.assert_close(msp(ROWS), torch.tensor([-0.5, -0.75]))


def test_max_logit_is_minus_the_largest_logit() -> None:
    torch.testing.assert_close(max_logit(ROWS), torch.tensor([0.0, -math.log(3.0)]))


def test_energy_is_minus_the_logarithm_of_the_denominator() -> None:
    torch.testing.assert_close(energy(ROWS), -torch.tensor([2.0, 4.0]).log())


def test_entropy_is_in_nats() -> None:
    by_hand = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    torch.testing.assert_close(entropy(ROWS), torch.tensor([math.log(2), by_hand]))


def test_entropy_of_certainty_is_zero() -> None:
    assert entropy(torch.tensor([[1000.0, 0.0]])).item() == 0


@pytest.mark.parametrize("score", ALL)
def test_confident_rows_score_lower(score) -> None:
    flat, peaked = score(torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    assert peaked < flat


@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_energy_shifts_against_the_logits(shift: float, temperature: float) -> None:
    rows = ROWS.double()
    torch.testing.assert_close(energy(rows + shift, temperature), energy(rows, temperature) - shift)


@given(st.floats(0.1, 10))
def test_energy_scales_with_logits_and_temperature(factor: float) -> None:
    rows = ROWS.double()
    torch.testing.assert_close(energy(rows * factor, factor), energy(rows) * factor)


@pytest.mark.parametrize("score", ALL)
def test_half_precision_is_computed_in_float32(score) -> None:
    rows = torch.tensor([[60.0, 59.0, -3.0]], dtype=torch.bfloat16)
    assert torch.equal(score(rows), score(rows.float()))


@pytest.mark.parametrize("score", ALL)
def test_autocast_does_not_narrow_the_score(score) -> None:
    rows = torch.tensor([[17.3, 16.9, -3.1]])
    expected = score(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(score(rows), expected)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        energy(ROWS, temperature)

"""SimCLR: views, the contrast of a pair, and the rates."""

import math

import pytest
import torch
from mood_dpa.simclr import cosine_rates, nt_xent, view


def test_views_are_repeatable_differ_between_slices_and_stay_in_range() -> None:
    slices = torch.rand(1, 1, 40, 40).repeat(4, 1, 1, 1)
    one, two = (view(slices, 24, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (4, 3, 24, 24)
    assert torch.equal(one, two)
    assert not torch.equal(one[0], one[1])
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_a_single_pair_has_no_contrast() -> None:
    assert float(nt_xent(torch.randn(1, 4), torch.randn(1, 4))) == pytest.approx(0, abs=1e-6)


def test_few_batches_do_not_stop_the_schedule() -> None:
    assert all(math.isfinite(rate) for rate in cosine_rates(5, 3, 1, 10))

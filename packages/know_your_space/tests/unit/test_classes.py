"""Class codes, counts, weights and balanced draws."""

import numpy as np
import pytest
import torch
from know_your_space.data.classes import balanced_draws, class_counts, class_weights, recode, sample_weights
from ood_shared.errors import InputError

LABELS = torch.tensor([0, 0, 0, 1])


def test_codes_follow_the_sorted_ids() -> None:
    assert recode([5, 2, 9, 2]).tolist() == [1, 0, 2, 0]


def test_a_part_that_lacks_a_class_keeps_the_codes_of_the_training_part() -> None:
    assert recode([9, 5], known=[5, 2, 9, 9]).tolist() == [2, 1]


@pytest.mark.parametrize("stranger", [1, 4, 10])
def test_a_class_that_training_lacks_is_refused(stranger: int) -> None:
    with pytest.raises(InputError, match=rf"Class id {stranger} at row 1 .*\(2, 5, 9\)"):
        recode([5, stranger], known=[5, 2, 9])


def test_no_label_needs_no_code() -> None:
    assert recode(np.array([], dtype=np.int64)).tolist() == []


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="from 0 to 3; expected 0 to 2"):
        class_counts(torch.tensor([0, 3]), 3)


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(InputError, match="Class 1 has no image"):
        class_counts(torch.tensor([0, 2]), 3)


def test_weights_are_one_minus_the_share() -> None:
    assert class_weights(class_counts(LABELS, 2)).tolist() == [0.25, 0.75]


def test_a_single_class_has_weight_zero() -> None:
    assert class_weights(torch.tensor([7])).tolist() == [0]


def test_sample_weights_are_one_over_the_count() -> None:
    torch.testing.assert_close(sample_weights(torch.tensor([3, 1])), torch.tensor([1 / 3, 1], dtype=torch.float64))


def test_an_epoch_draws_as_many_images_as_there_are(generator: torch.Generator) -> None:
    assert balanced_draws(LABELS, class_counts(LABELS, 2), generator).shape == LABELS.shape


def test_every_class_is_drawn_equally_often(generator: torch.Generator) -> None:
    labels = torch.cat([torch.zeros(3900, dtype=torch.int64), torch.ones(100, dtype=torch.int64)])
    drawn = labels[balanced_draws(labels, class_counts(labels, 2), generator)]
    assert abs(drawn.float().mean().item() - 0.5) < 5 * 0.5 / 4000**0.5  # five standard deviations


def test_images_of_one_class_are_drawn_equally_often(generator: torch.Generator) -> None:
    draws = torch.cat([balanced_draws(LABELS, class_counts(LABELS, 2), generator) for _ in range(1500)])
    shares = torch.bincount(draws)[:3] / len(draws)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 6), rtol=0, atol=0.025)

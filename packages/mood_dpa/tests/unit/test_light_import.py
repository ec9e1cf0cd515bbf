"""The scores can be imported in little more time than torch takes."""

from ood_shared.testing.commands import check_light


def test_importing_the_scores_loads_torch_and_nothing_else_that_takes_long() -> None:
    check_light("mood_dpa.scores")

"""The short form of docs/trust.md: this package's trainers, killed, terminated and starved."""

from pathlib import Path

import pytest
from ood_shared.testing.crashes import short_form

pytestmark = pytest.mark.slow


def test_a_trainer_that_was_stopped_leaves_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    short_form(Path(__file__).parents[1] / "crash_trainers.py", tmp_path)

"""`mood-dpa --help` says what each command does, and each answers `--help` and `--version`."""

from itertools import product

import pytest
from mood_dpa import cli
from ood_shared.testing.commands import succeed


def test_help_has_a_line_for_every_command_which_answers_help_and_version() -> None:
    lines = dict(line.split(maxsplit=1) for line in succeed(cli.main, "--help").out.splitlines() if line[:2] == "  ")
    for name, flag in product(lines, ("--help", "--version")):
        with pytest.raises(SystemExit) as end:
            cli.main([name, flag])
        assert end.value.code == 0
    assert set(lines) == {*cli.COMMANDS, "calibrate", "score", "check", "export"}

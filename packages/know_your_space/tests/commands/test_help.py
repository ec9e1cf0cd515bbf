"""`know_your_space --help` says what each command does."""

import pytest
from know_your_space import cli
from ood_shared.testing.commands import succeed


def test_help_has_a_line_for_every_command() -> None:
    lines = dict(line.split(maxsplit=1) for line in succeed(cli.main, "--help").out.splitlines() if line[:2] == "  ")
    for name in lines:
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0
    assert set(lines) == {*cli.COMMANDS, "calibrate", "score", "check", "export"}

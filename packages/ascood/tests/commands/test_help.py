"""`ascood --help` says what each command does, and each answers `--help` and `--version`."""

from ascood import cli
from ood_shared.testing.commands import commands_in_help


def test_help_has_a_line_for_every_command_which_answers_help_and_version() -> None:
    assert commands_in_help(cli.main) == {*cli.COMMANDS, "calibrate", "score", "check", "export"}

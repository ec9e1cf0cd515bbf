"""A console command with commands of its own, which are imported when they run."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module

from ood_shared.cli.answers import answer, installed
from ood_shared.errors import did_you_mean


def dispatch(
    program: str,
    commands: Mapping[str, Callable[[Sequence[str] | None], int]],
    argv: Sequence[str] | None = None,
    about: Mapping[str, str] | None = None,
) -> int:
    """A console command with commands of its own: `program command flags…`.

    Args:
        program: its name, for messages.
        commands: by name; each takes its arguments and returns an exit status.
        argv: arguments without the program's name; `sys.argv[1:]` when None.
        about: by name, what each does, on one line; for `--help`.

    Returns:
        Exit status of the command; 2 when none, or one that is not known, was named.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(f"{program}: error: no command given. Known: {', '.join(commands)}.", file=sys.stderr)
        return 2
    if words[0] in {"-h", "--help"}:
        return answer(_commands(program, commands, about or {}))
    if words[0] == "--version":
        return answer(installed())
    if words[0] not in commands:
        known = did_you_mean(words[0], commands)
        print(f"{program}: error: command `{words[0]}` is not known. {known}", file=sys.stderr)
        return 2
    return commands[words[0]](words[1:])


def _commands(program: str, commands: Iterable[str], about: Mapping[str, str]) -> str:
    """The answer to `program --help`."""
    wide = max(map(len, commands), default=0)
    lines = [f"  {name:{wide}}  {about.get(name, '')}".rstrip() for name in commands]
    return "\n".join([f"usage: {program} COMMAND …", "", *lines, "", "Each answers --help; --version shows versions."])


def deferred(module: str, function: str) -> Callable[[argparse.Namespace], int | None]:
    """A command that is imported when it runs: `--help` and mistyped flags are answered without loading torch."""

    def command(options: argparse.Namespace) -> int | None:
        found: int | None = getattr(import_module(module), function)(options)
        return found

    return command

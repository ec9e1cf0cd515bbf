"""The parser of all commands, whose errors are one line, the flags that they share, and seeds."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ood_shared.cli.answers import answer, installed
from ood_shared.errors import did_you_mean, one_line
from ood_shared.flags import positive
from ood_shared.process import PRECISIONS

DEFAULT_SEED = 5
DIGITS = 19  # of the largest seed; Python refuses to read thousands
WORD = 120  # characters of a user's word that a message shows
HOME = re.compile(r"(--?[\w-]+=)?~(/.*)?", re.DOTALL)  # `~`, `~/runs`, `--output-dir=~/runs`


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line, with the nearest known flag or choice. Abbreviations are refused.

    A `~` at the start of a value is the home folder, also where no shell has resolved it, as in `--output-dir=~/runs`.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse, but an unknown flag comes with the nearest known one."""
        parsed, rest = self.parse_known_args(args, namespace)  # type: ignore[no-untyped-call]
        if rest:
            word = rest[0].split("=")[0]
            known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            self._end(f"unknown argument `{one_line(rest[0], WORD)}`. {did_you_mean(word, known, len(known))}")
        return parsed

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse, with `~` resolved."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_at_home(word) for word in words], namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        choice = re.fullmatch(r"argument (.+?): invalid choice: '?(.*?)'? \(choose from (.*)\)", message)
        if choice:
            known = [word.strip().strip("'") for word in choice[3].split(",")]
            found = one_line(choice[2], WORD)
            self._end(f"{choice[1]} `{found}` is not known. {did_you_mean(choice[2], known, len(known))}")
        self._end(one_line(message))

    def _end(self, line: str) -> NoReturn:
        """Print a line whose words of the user are cut and whose list of our own is whole."""
        self.exit(2, f"{self.prog}: error: {line}\n")


def _at_home(word: str) -> str:
    """A word of the command line, whose value may begin with `~`."""
    found = HOME.fullmatch(word)
    if found is None:
        return word
    try:
        return (found[1] or "") + str(Path.home()) + (found[2] or "")
    except RuntimeError:  # a user without a home folder
        return word


def parse_seed(text: str) -> int | None:
    """`--seed`: an integer is that seed; `True` is 5; `False`, `0` and `no` leave the choice to the system.

    The original read any text as true, also `False`; here the word means what it says.
    """
    word = text.strip().lower()
    if word in {"false", "0", "no", "off", "none"}:
        return None
    if word in {"true", "yes", "on"}:
        return DEFAULT_SEED
    return _integer(word, text)


def parse_seed_number(text: str) -> int:
    """`--seed` of commands that have no original meaning to keep: a plain integer, 0 included."""
    return _integer(text.strip(), text)


def _integer(word: str, text: str) -> int:
    if not (word.isascii() and word.isdecimal()) or len(word) > DIGITS or int(word) >= 2**63:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a seed: pass a whole number from 0 to 2**63 - 1, True or False"
        )
    return int(word)


class _Versions(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.exit(answer(installed()))


def add_version_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--version`, which every command has and which is no setting."""
    nothing = argparse.SUPPRESS
    parser.add_argument("--version", action=_Versions, nargs=0, dest=nothing, default=nothing, help="show all versions")


def add_shared_flags(
    parser: argparse.ArgumentParser,
    *,
    seed: Callable[[str], int | None] | None = parse_seed,
    seed_default: int | None = None,
    skip: Sequence[str] = (),
    trains: bool = False,
) -> None:
    """Add the flags of `design` section 6 to a command.

    Args:
        parser: the command's parser.
        seed: reads `--seed`; None when the command defines that flag itself.
        seed_default: what `--seed` is when it is not given; None leaves the choice to the system.
        skip: names (without dashes) that the command does not have or defines itself.
        trains: whether the command trains, in loops that save when they are told to stop: it has `--stop-after`.
    """
    group = parser.add_argument_group("shared by all commands")

    def add(name: str, **kwargs: object) -> None:
        if name.lstrip("-") not in skip:
            if isinstance(kwargs.get("default"), str):
                kwargs["help"] = f"{kwargs['help']} (default: {kwargs['default']})"
            group.add_argument(name, **kwargs)  # type: ignore[arg-type]

    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; wins over an original GPU flag")
    add("--precision", default="fp32", choices=PRECISIONS, help="precision of the forward passes")
    add("--compile", action="store_true", help="compile the network with torch.compile")
    if seed is not None:
        add("--seed", type=seed, default=seed_default, help="seed of every random draw")
    add("--resume", action="store_true", help="continue an interrupted run in the same output folder")
    if trains:
        words = "save and end after so many seconds of work, with status 0; --resume goes on (default: never)"
        add("--stop-after", type=positive, default=None, metavar="SECONDS", help=words)
    add("--output-dir", default=None, metavar="DIR", help="where the run's files go")
    add("--log-to", default="jsonl", choices=("jsonl", "tensorboard"), help="training curves beside metrics.jsonl")
    add("--data-dir", default=None, metavar="DIR", help="where named data sets are kept and downloaded to")
    add("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(group)

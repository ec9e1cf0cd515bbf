"""What the flags of all commands have in common; nothing here imports torch or needs `ood_shared`."""

import argparse
import math
from collections.abc import Sequence
from typing import Any

from mood_dpa.data.intensities import WAYS, Rule
from mood_dpa.standalone import InputError, Parser, add_version_flag

MOST = 2**31 - 1  # of a whole number


class _RuleWords(argparse.Action):
    """The words of a rule; a wrong one is said at once, before anything is read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        try:
            rule = Rule.of(list(values or ()), option or "--rescale")
        except InputError as error:
            parser.error(f"{error} Other arguments stand before {option}.")
        setattr(namespace, self.dest, rule)


def add_rescale_flags(parser: argparse._ActionsContainer, rescale: bool = True) -> None:
    """`--rescale` and `--any-range`, of every command that takes volumes.

    Args:
        parser: of the command.
        rescale: offer `--rescale`, too.
    """
    rules = parser.add_mutually_exclusive_group()
    if rescale:
        rules.add_argument(
            "--rescale",
            nargs="+",
            action=_RuleWords,
            metavar="RULE",
            default=None,
            help=f"how intensities get to [0, 1], kept with the trained model: {WAYS}, or none "
            "(default: as in training; volumes outside [0, 1] are refused)",
        )
    rules.add_argument(
        "--any-range",
        dest="rescale",
        action="store_const",
        const=Rule("any-range"),
        help="take values outside [0, 1] as they are, with a warning for each volume, as the published program did",
    )


def add_small_flags(parser: Parser, *resume: str) -> None:
    """`--debug`, `--version`, and `--resume` with this help."""
    if resume:
        parser.add_argument(resume[0], action="store_true", help=resume[1])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(parser)


def add_seed_flag(parser: Parser) -> None:
    """`--seed` of draws that are otherwise left to the system."""
    parser.add_argument("--seed", type=whole, default=None, help="seed of the draws (default: left to the system)")


def whole(text: str) -> int:
    """A whole number from 0 to 2^32 - 1."""
    if not text.isdecimal() or len(text) > 10 or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"`{text[:40]}` is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 to 2^31 - 1."""
    if not text.isdecimal() or len(text) > 10 or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"`{text[:40]}` is not a whole number from 1 to {MOST}")
    return int(text)


def finite(text: str) -> float:
    """A number that is neither NaN nor infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"`{text[:40]}` is not a finite number")
    return value

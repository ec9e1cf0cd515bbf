"""Types of flags: what argparse calls on a word, and the words it says when the word is no good.

    parser.add_argument("--epochs", type=positive_int)
    parser.add_argument("--keep", type=whole(-1))
    parser.add_argument("--data", type=path_flag)

No number is infinite or no number, and no whole number greater than a program can count.
"""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from ood_shared.errors import InputError, one_line
from ood_shared.files import path_of

MOST_WORKERS = 1024  # processes or threads that a flag may ask for
MOST = 2**31 - 1  # of whole numbers: more would not fit the counters of the libraries


def number(text: str) -> float:
    """A finite number."""
    return _checked(text, "a number", -math.inf)


def positive(text: str) -> float:
    """A number above 0."""
    return _checked(text, "a number above 0", math.ulp(0.0))


def not_negative(text: str) -> float:
    """A number from 0 on."""
    return _checked(text, "a number from 0 on", 0.0)


def share(text: str) -> float:
    """A number between 0 and 1, both left out."""
    return _checked(text, "a share between 0 and 1, such as 0.05", math.ulp(0.0), 1 - 2**-53)


def share_or_all(text: str) -> float:
    """A number above 0 and at most 1."""
    return _checked(text, "a number above 0 and at most 1", math.ulp(0.0), 1.0)


def below_one(text: str) -> float:
    """A number from 0 on and below 1."""
    return _checked(text, "a number from 0 on and below 1", 0.0, 1 - 2**-53)


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`, written in digits."""

    def read(text: str) -> int:
        digits = re.fullmatch(r"[+-]?[0-9]{1,4000}", text)
        value = int(text) if digits else least - 1
        if not least <= value <= most:
            wanted = f"a whole number from {least} on" if most == MOST else f"a whole number from {least} to {most}"
            large = f", at most {most}" if most == MOST and value > most else ""
            raise argparse.ArgumentTypeError(f"`{one_line(text, 80)}` is not {wanted}{large}")
        return value

    return read


positive_int, not_negative_int = whole(1), whole(0)


def path_flag(text: str) -> Path:
    """A path, `~` resolved; see `ood_shared.files.path_of`."""
    try:
        return path_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def data_word(text: str) -> str:
    """The name or path of data, as it was written: not empty, as a shell's unset variable is, and a default would be
    taken instead."""
    try:
        path_of(text.strip())
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def truth(text: str) -> bool:
    """`true` or `false`, in the usual spellings."""
    word = text.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise argparse.ArgumentTypeError(f"`{one_line(text, 80)}` is neither true nor false")


def _checked(text: str, wanted: str, least: float, most: float = math.inf) -> float:
    value = _float(text)
    if not (math.isfinite(value) and least <= value <= most):
        raise argparse.ArgumentTypeError(f"`{one_line(text, 80)}` is not {wanted}")
    return value


def _float(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan

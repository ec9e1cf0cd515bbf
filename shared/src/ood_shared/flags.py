"""Types of flags: what argparse calls on a word, and the words it says when the word is no good."""

import argparse
import math


def number(text: str) -> float:
    """A finite number."""
    return _checked(text, "a number", -math.inf)


def positive(text: str) -> float:
    """A number above 0."""
    return _checked(text, "a number above 0", math.ulp(0.0))


def not_negative(text: str) -> float:
    """A number from 0 on."""
    return _checked(text, "a number from 0 on", 0.0)


def positive_int(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 on")
    return int(text)


def truth(text: str) -> bool:
    """`true` or `false`, in the usual spellings."""
    word = text.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise argparse.ArgumentTypeError(f"`{text}` is neither true nor false")


def _checked(text: str, wanted: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise argparse.ArgumentTypeError(f"`{text}` is not {wanted}")
    return value

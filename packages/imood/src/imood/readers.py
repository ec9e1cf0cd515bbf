"""What the flags read: numbers in a range, and words that the published choices name without effect."""

import argparse
from collections.abc import Callable

from imood import modes


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if value != value or value in (float("inf"), float("-inf")) or value != int(value) or value < least:
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from {least} on")
        return int(value)

    return read


def number(least: float, above: bool = False) -> Callable[[str], float]:
    """A reader of finite numbers from `least` on, or above it."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (value > least if above else value >= least) or value == float("inf"):
            raise argparse.ArgumentTypeError(
                f"`{text}` is not a number {'above' if above else 'from'} {least:g}" + ("" if above else " on")
            )
        return value

    return read


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    value = number(0, above=True)(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number above 0 and at most 1")
    return value


def ratio(text: str) -> float | str:
    """A share, or `asis`."""
    return text if text == "asis" else share(text)


def tau(text: str) -> float:
    """A number from 0 on."""
    return number(0)(text)


def taus(text: str) -> list[float]:
    """Numbers from 0 on, separated by commas."""
    return [tau(word) for word in text.split(",")]


def train_metric(text: str) -> str:
    """A training metric; `ada_pascl`, which the published choices name, is explained."""
    if text == "ada_pascl":
        raise argparse.ArgumentTypeError(
            "`ada_pascl` has no loss of its own: pass --ood_metric ada_bin_disc --aux_ood_loss pascl"
        )
    return text


def test_model(text: str) -> str:
    """A network; `WRN40`, which the published choices name, was never implemented."""
    if text == "WRN40":
        known = ", ".join(modes.MODELS)
        raise argparse.ArgumentTypeError(
            f"`WRN40` has no implementation, here or in the published code; known: {known}"
        )
    return text

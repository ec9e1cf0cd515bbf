"""What the flags read: numbers in a range, and words that the published choices name without effect."""

import argparse

from ood_shared.errors import one_line
from ood_shared.flags import MOST, not_negative, positive, share_or_all

from imood import modes


def sample_count(text: str) -> int:
    """A whole number from 1 on, which the documents also write as 3e5."""
    value = positive(text)
    if value != int(value) or value > MOST:
        raise argparse.ArgumentTypeError(f"`{one_line(text, 80)}` is not a whole number from 1 on")
    return int(value)


def ratio(text: str) -> float | str:
    """A share, or `asis`."""
    return text if text == "asis" else share_or_all(text)


def taus(text: str) -> list[float]:
    """Numbers from 0 on, separated by commas."""
    return [not_negative(word) for word in text.split(",")]


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

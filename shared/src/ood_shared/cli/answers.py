"""Answers on standard output, whose reader may have enough of them, and what is installed."""

import contextlib
import os
import sys
from importlib import metadata


def answer(text: str) -> int:
    """Print an answer; its exit status."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return unread()
    return 0


def unread() -> int:
    """The status of a program that SIGPIPE ends; what Python writes to standard output at its end goes nowhere."""
    with contextlib.suppress(OSError, ValueError):  # no real standard output, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def installed() -> str:
    """The project's installed packages with their versions, a line each."""
    points = [*metadata.entry_points(group="ood_shared.bench"), *metadata.entry_points(group="ood_shared.detectors")]
    found = {point.dist.name: point.dist.version for point in points if point.dist is not None}
    found["ood-shared"] = metadata.version("ood-shared")
    return "\n".join(f"{name} {version}" for name, version in sorted(found.items()))

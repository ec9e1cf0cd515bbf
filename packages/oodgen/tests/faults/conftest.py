"""What every fault must come to: status 2, one line that says what is wrong, and no file changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def files_below(root: Path) -> dict[str, bytes | None]:
    """Content of every file, and None for every folder, also the hidden ones."""
    found: dict[str, bytes | None] = {}
    for folder, inner, names in os.walk(root):
        found |= {str(Path(folder, name)): None for name in inner}
        found |= {str(Path(folder, name)): Path(folder, name).read_bytes() for name in names}
    return found


@pytest.fixture(autouse=True)
def _no_gpu(no_gpu: None) -> None:
    """These tests are the same on every machine."""


@pytest.fixture
def refused(run: Callable[..., object], tmp_path: Path) -> Callable[..., str]:
    """`refused("train_vae", "--lr", "0")`: the one line of a command that is refused and leaves all as it was."""

    def call(step: str, *argv: str) -> str:
        before = files_below(tmp_path)
        line = run(step, *argv).error  # type: ignore[attr-defined]
        assert files_below(tmp_path) == before
        return line

    return call

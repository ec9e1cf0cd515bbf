"""Words on the command line."""

import argparse
from collections.abc import Callable

import pytest
from ood_shared.cli import dispatch
from ood_shared.flags import not_negative, number, positive, positive_int, truth


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (number, "-2.5", -2.5),
        (positive, "1e-3", 1e-3),
        (not_negative, "0", 0.0),
        (positive_int, "12", 12),
        (truth, "Yes", True),
        (truth, "off", False),
    ],
)
def test_good_words_are_read(kind: Callable[[str], object], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (number, "nan"),
        (number, "x"),
        (positive, "0"),
        (positive, "inf"),
        (not_negative, "-1"),
        (positive_int, "0"),
        (positive_int, "1.5"),
        (truth, "maybe"),
    ],
)
def test_bad_words_are_quoted(kind: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"`{text}`"):
        kind(text)


def test_a_console_command_hands_its_words_on(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[object] = []

    def train(argv: object) -> int:
        seen.append(argv)
        return 7

    commands = {"train": train}
    assert dispatch("tool", commands, ["train", "--x", "1"]) == 7
    assert seen == [["--x", "1"]]
    assert dispatch("tool", commands, []) == 2
    assert "no command given. Known: train." in capsys.readouterr().err
    assert dispatch("tool", commands, ["trian"]) == 2
    assert "`trian` is not known. Did you mean `train`?" in capsys.readouterr().err
    assert dispatch("tool", commands, ["--help"]) == 0
    assert "usage: tool {train}" in capsys.readouterr().out

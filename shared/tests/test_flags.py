"""Words on the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from ood_shared.cli import dispatch
from ood_shared.flags import (
    MOST,
    data_word,
    not_negative,
    number,
    path_flag,
    positive,
    positive_int,
    share,
    truth,
    whole,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (number, "-2.5", -2.5),
        (positive, "1e-3", 1e-3),
        (not_negative, "0", 0.0),
        (positive_int, "12", 12),
        (truth, "Yes", True),
        (truth, "off", False),
        (whole(-1), "-1", -1),
        (positive_int, str(MOST), MOST),
        (share, "0.05", 0.05),
        (path_flag, "a/b", Path("a/b")),
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
        (positive_int, "1e3"),
        (positive_int, "9" * 30),
        (positive_int, "９"),
        (number, "３"),
        (number, "1_000"),
        (whole(0, 8), "9"),
        (share, "1"),
        (number, "1e999"),
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
    assert dispatch("tool", commands, ["--help"], {"train": "a network"}) == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["usage: tool COMMAND …", "", "  train  a network"]


@pytest.mark.parametrize("kind", [number, positive_int, truth, path_flag])
def test_a_long_word_is_cut(kind: Callable[[str], object]) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind("~x" + "y" * 100_000)
    assert len(str(caught.value)) < 300


def test_an_empty_word_for_data_is_refused_and_a_default_not_taken() -> None:
    assert data_word("folder:a b") == "folder:a b"
    for text in ("", " ", "a\0b"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no path"):
            data_word(text)

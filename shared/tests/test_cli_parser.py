"""What the parser of all commands makes of words."""

import argparse

import pytest
from ood_shared.cli import Parser


@pytest.mark.parametrize(
    ("words", "place", "rest"),
    [
        (["--place=~/runs"], "/home/x/runs", []),
        (["--place", "~"], "/home/x", []),
        (["-p", "~/a b", "~/c"], "/home/x/a b", ["/home/x/c"]),
        (["--place=a~/b", "~other/c"], "a~/b", ["~other/c"]),
        (["--place=/a/~"], "/a/~", []),
    ],
)
def test_a_tilde_that_no_shell_resolved_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, words: list[str], place: str, rest: list[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    parser = Parser(prog="tool")
    parser.add_argument("-p", "--place")
    parser.add_argument("rest", nargs="*")
    assert parser.parse_args(words) == argparse.Namespace(place=place, rest=rest)
    monkeypatch.setattr("sys.argv", ["tool", *words])
    assert parser.parse_args() == argparse.Namespace(place=place, rest=rest)

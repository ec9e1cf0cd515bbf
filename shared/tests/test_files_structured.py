"""JSON and YAML: what is refused, in one line each, and what is read."""

import contextlib
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ood_shared.errors import InputError
from ood_shared.files import parse_json, parse_yaml, read_json, read_yaml

LAUGHS = "a0: &a0 {k: v}\n" + "".join(
    f"a{level}: &a{level} {{{', '.join(f'k{n}: *a{level - 1}' for n in range(9))}}}\n" for level in range(1, 10)
)
BAD_YAML = {
    "zz: 2001-99-99": "line 1: `2001-99-99` is no timestamp: month must be in 1..12",
    "a: 1\nzz: !!int banana": "line 2: `banana` is no int",
    "zz: !!float banana": "`banana` is no float",
    "zz: !!bool banana": r"`banana` is no bool\)",
    "zz: !!timestamp banana": r"`banana` is no timestamp\)",
    "zz: " + "9" * 6000: "is no int",
    "? [a, b]\n: c": "a key is a list or a mapping",
    "? {a: b}\n: c": "a key is a list or a mapping",
    "[" * 6000: "nested deeper than 64 levels",
    "".join("  " * n + "a:\n" for n in range(300)): "nested deeper than 64 levels",
    LAUGHS: "stands for more than 200000 values",
    "a: [&a [*a]]": "stands for what it is part of|recursive",
    'z: "\\ud800"': "half a character",
    "a: 1\na: 2": "line 2: the key `a` stands twice",
    "a: .inf": "not a finite number",
    "a: {b": "line 1",
    "a: !!python/object/apply:os.getcwd []": "could not determine a constructor",
    "a: *b": "undefined alias",
    "\0": "unacceptable character",
    "<<: [1]": "expected a mapping|merge",
}
BAD_JSON = ["[" * 100_000, "9" * 5000, '{"a": 1, "a": 2}', "NaN", "[1e999]", '"\\ud800"', '{"a":', "", "\0"]


@pytest.mark.parametrize("text", BAD_YAML, ids=[said[:24] for said in BAD_YAML.values()])
def test_bad_yaml_is_one_line_with_its_number(text):
    with pytest.raises(InputError, match=f"c.yml is not valid YAML .*({BAD_YAML[text]})") as caught:
        parse_yaml(text, "c.yml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_good_yaml_is_read():
    text = "a: &x {b: 1}\nc: {<<: *x, d: [2, 1.5]}\ne: 2001-01-01\nf: null\n"
    expected = {"a": {"b": 1}, "c": {"b": 1, "d": [2, 1.5]}, "e": datetime.date(2001, 1, 1), "f": None}
    assert parse_yaml(text, "x") == expected


@pytest.mark.parametrize("text", BAD_JSON, ids=[text[:12] for text in BAD_JSON])
def test_bad_json_is_one_line(text):
    with pytest.raises(InputError, match=r"c\.json is not valid JSON \(.+\)\. Delete it") as caught:
        parse_json(text, "c.json")
    assert "\n" not in str(caught.value)


def test_half_characters_in_pairs_are_whole():
    assert parse_json('"\\ud83d\\ude00"', "x") == "😀"


@given(st.text(alphabet=st.sampled_from("[]{}:,-&*!?|>'\"%@`#ab1.\n \t~<=")))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_yaml, parse_json):
        with contextlib.suppress(InputError):
            parse(text, "x")


def test_files_are_bounded(tmp_path):
    for read in (read_yaml, read_json):
        with pytest.raises(InputError, match="a device"):
            read(_link(tmp_path))
    (tmp_path / "large.yml").write_bytes(b"a" * (5 << 20))
    with pytest.raises(InputError, match="at most"):
        read_yaml(tmp_path / "large.yml")


def _link(folder):
    path = folder / "zero"
    if not path.is_symlink():
        path.symlink_to("/dev/zero")
    return path

"""Whatever the text: the parsers give a value or one line."""

import argparse
import io
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ood_shared.datasets.lists import parse_line
from ood_shared.datasets.own import load_path
from ood_shared.errors import InputError, one_line
from ood_shared.files import csv_cell, path_of, plain_cell
from ood_shared.flags import not_negative, number, path_flag, positive, positive_int, share, truth, whole
from ood_shared.rows import Row, whole_rows, write_rows
from ood_shared.value_range import parse_range

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
NEAR = st.text(st.sampled_from("0123456789.,-+eEnaif/\\~ \t\n\0x\ud800é"), max_size=20)
NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)


def _one_line(error: BaseException) -> None:
    said = one_line(error)
    assert 0 < len(said) <= 500


@given(ANY | NEAR)
def test_a_line_of_a_list(text: str) -> None:
    try:
        found = parse_line(text, "list.txt, line 1", Path("root"))
    except InputError as error:
        _one_line(error)
    else:
        assert found is None or (isinstance(found[0], PurePosixPath) and ".." not in found[0].parts)


@given(st.binary(max_size=80))
def test_any_bytes_as_a_list(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("list") / "test_a.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_path(path, "test")
    _one_line(caught.value)


@pytest.mark.parametrize(
    "kind", [number, positive, not_negative, positive_int, whole(-3, 9), share, truth, path_flag, parse_range]
)
@given(text=ANY | NEAR)
def test_a_word_of_a_flag(kind, text: str) -> None:
    try:
        kind(text)
    except (argparse.ArgumentTypeError, InputError) as error:
        _one_line(error)


@given(ANY | NEAR)
def test_a_path(text: str) -> None:
    try:
        found = path_of(text)
    except InputError as error:
        _one_line(error)
        str(error).encode()
    else:
        str(found).encode()


@given(st.lists(st.tuples(NAMES, NAMES), max_size=5))
def test_rows_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]) -> None:
    rows = [Row(name, 0.5, 0.25, "ID", class_name, nearest=name) for name, class_name in texts]
    header = ("file", "score", "p_value", "decision", "class", "driver", "nearest", "problem")
    buffer = io.StringIO()
    write_rows(buffer, [header, *(row.cells() for row in rows)])
    path = tmp_path_factory.mktemp("rows") / "out.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    assert [row for row, _ in whole_rows(path)][1:] == rows


@given(ANY)
def test_cells_come_back_as_they_were(text: str) -> None:
    assert plain_cell(csv_cell(text)) == text
    assert (
        csv_cell(text)[:1] not in tuple("=+-@\t\r") or float(text) == float(text) or text.lower().lstrip("+-") == "nan"
    )

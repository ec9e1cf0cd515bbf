"""Tables of a report are sorted by a click on a head, or by the keyboard."""

import pytest
from ood_shared.report import render
from ood_shared.sections import Cell, Table

from .conftest import in_chromium

pytestmark = in_chromium

ROWS = [
    ["b", "9.5\n[9, 10]", Cell("1 min 5 s", 65.0), "7.1"],
    ["d", "100.0\n[99, 100]", Cell("20 s", 20.0), "0.5"],
    ["a", "–", Cell("–", None), "–"],
    ["c", "−3.0\n[−4, −2]", Cell("3 h 2 min", 10920.0), "12.0"],
]
HEAD = ["method", "AUROC ↑", "training", "FPR95 ↓"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A page with two tables, plain and grouped, of values that sort otherwise as text."""
    path = tmp_path_factory.mktemp("tables") / "tables.html"
    grouped = [[group, *row] for group in ("near\nsmall", "far") for row in ROWS]
    plain = Table("Plain", HEAD, ROWS, sortable=True)
    path.write_text(render("T", [plain, Table("Grouped", ["set", *HEAD], grouped, grouped=True, sortable=True)]))
    return path.as_uri()


def column(tab, number, table=0):
    """First lines of a column's cells, from above."""
    cells = tab.locator("table").nth(table).locator(f"tbody tr:not(.group) > :nth-child({number + 1})")
    return [cell.split("\n")[0] for cell in cells.all_inner_texts()]


def head(tab, name, table=0):
    return tab.locator("table").nth(table).get_by_role("columnheader", name=name)


@pytest.mark.parametrize(
    ("name", "number", "once"),
    [
        ("method", 0, ["a", "b", "c", "d"]),
        ("AUROC", 1, ["100.0", "9.5", "−3.0", "–"]),
        ("training", 2, ["3 h 2 min", "1 min 5 s", "20 s", "–"]),
        ("FPR95", 3, ["0.5", "7.1", "12.0", "–"]),
    ],
)
def test_a_click_sorts_and_a_second_one_turns_the_order_with_nothing_staying_last(visit, tables, name, number, once):
    tab, _ = visit(tables)
    head(tab, name).get_by_role("button").click()
    assert column(tab, number) == once
    head(tab, name).get_by_role("button").click()
    known = [cell for cell in once if cell != "–"]
    assert column(tab, number) == known[::-1] + once[len(known) :]


def test_sorting_keeps_each_row_together(visit, tables):
    tab, _ = visit(tables)
    before = tab.locator("table").first.locator("tbody tr").all_inner_texts()
    head(tab, "AUROC").get_by_role("button").click()
    after = tab.locator("table").first.locator("tbody tr").all_inner_texts()
    assert sorted(before) == sorted(after)
    assert before != after


def test_sorting_is_told_to_assistive_software(visit, tables):
    tab, _ = visit(tables)
    states = []
    for name in ("AUROC", "AUROC", "FPR95"):
        head(tab, name).get_by_role("button").click()
        states.append([th.get_attribute("aria-sort") for th in tab.locator("table").first.locator("thead th").all()])
    assert states == [[None, "descending", None, None], [None, "ascending", None, None], [None] * 3 + ["ascending"]]


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_reaches_a_head_and_sorts_by_it(visit, tables, key):
    tab, _ = visit(tables)
    for _ in range(10):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.textContent.trim()").startswith("AUROC"):
            break
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # the focus is seen
    tab.keyboard.press(key)
    assert column(tab, 1) == ["100.0", "9.5", "−3.0", "–"]
    tab.keyboard.press(key)
    assert column(tab, 1) == ["−3.0", "9.5", "100.0", "–"]


def test_groups_are_sorted_each_by_itself_below_their_headings(visit, tables):
    tab, _ = visit(tables)
    head(tab, "method", table=1).get_by_role("button").click()
    lines = [line.split("\t")[0] for line in tab.locator("table").nth(1).locator("tbody tr").all_inner_texts()]
    firsts = [line.split("\n")[0].strip() for line in lines]
    assert firsts == ["near small", *"abcd", "far", *"abcd"]

"""A report in a browser: every table sorts, the slider of the operating points, and what screen and paper show."""

import re

import pytest
from ood_bench import operating
from ood_shared.testing.results import result

from .conftest import PAPER, PHONE, SETS, in_chromium

pytestmark = in_chromium


def test_every_column_of_every_table_of_a_report_sorts_both_ways(visit, report):
    tab, faults = visit(report)
    columns = tab.evaluate(SORTED_TWICE)
    assert len(columns) > 20
    for column in columns:
        for first, second in zip(*(keys(column, order) for order in column["orders"]), strict=True):
            assert first in (sorted(first), sorted(first, reverse=True)), column
            assert second == first[::-1], column
    assert faults == []


# The heads of all tables are pressed within the page: as clicks of a mouse, with their pauses, they take a minute.
SORTED_TWICE = """
[...document.querySelectorAll('table.sortable')].flatMap(table =>
  [...table.querySelectorAll('thead th')].map((th, number) => ({
    kind: th.className,
    name: th.innerText,
    orders: [0, 1].map(() => {
      th.querySelector('button').click();
      return [...table.tBodies].map(body => [...body.rows].filter(row => !row.matches('.group'))
        .map(row => row.children[number])
        .map(cell => [cell.dataset.key ?? null, cell.firstChild?.textContent ?? '']));
    }),
  })))
"""


def keys(column, order):
    """Of every group numbers, without what has none; words, whatever their case."""
    if column["kind"] == "number":
        return [[float(key) for key, _ in cells if key is not None] for cells in order]
    return [[word.lower() for _, word in cells] for cells in order]


# The slider of the operating points


def caught_table(tab):
    return tab.locator("section", has=tab.get_by_role("heading", name="What is caught"))


def shown(tab):
    """First row of what is caught, at the rate that is shown."""
    row = caught_table(tab).locator("tbody tr").first.locator("td").all_inner_texts()
    return caught_table(tab).locator("output").inner_text(), row


def expected(method, rate):
    runs = [result(method, seed, SETS, shift=2.0) for seed in (0, 1)]  # delta is first
    shares = operating.caught(runs, rate)
    return operating.words_of(rate), [f"{100 * shares[ood].mean:.1f}" for ood in SETS]


def test_the_slider_starts_at_five_percent_and_its_keys_change_the_table(visit, report):
    tab, faults = visit(report)
    slider = tab.get_by_role("slider", name="False alarms")
    assert shown(tab) == expected("delta", 0.05)
    slider.focus()
    for key, rate in (("ArrowLeft", 0.03), ("End", 0.5), ("ArrowLeft", 0.4)):
        tab.keyboard.press(key)
        assert shown(tab) == expected("delta", rate)
        assert slider.get_attribute("aria-valuetext") == operating.words_of(rate)
    tab.keyboard.press("Home")
    assert shown(tab) == ("0.1 %", ["–"] * 3)  # 60 ID images
    assert faults == []


def test_what_is_caught_is_sorted_by_what_the_slider_shows(visit, report):
    tab, _ = visit(report)
    tab.get_by_role("slider", name="False alarms").focus()
    tab.keyboard.press("End")
    head = caught_table(tab).get_by_role("columnheader", name="novel")
    head.get_by_role("button").click()
    cells = [float(cell) for cell in caught_table(tab).locator("tbody td:nth-child(2)").all_inner_texts()]
    assert cells == sorted(cells, reverse=True)
    tab.get_by_role("slider", name="False alarms").focus()
    tab.keyboard.press("ArrowLeft")
    assert head.get_attribute("aria-sort") is None  # other numbers now, in the old order


def test_without_scripts_the_table_of_five_percent_stands_and_no_slider(visit, report):
    tab, _ = visit(report, scripts=False)
    assert shown(tab) == expected("delta", 0.05)
    assert not caught_table(tab).locator("input").is_visible()


# What is shown


def test_the_figures_of_the_first_three_methods_stand_open_and_those_of_the_others_are_closed(visit, report):
    tab, _ = visit(report)
    folded = [title for title in tab.locator("details.folded h2").all_inner_texts() if title.startswith("Scores")]
    assert folded == ["Scores: a_method_with_a_long_name", "Scores: alpha"]
    assert tab.get_by_role("heading", name="Scores: delta").is_visible()


def test_the_page_loads_nothing_and_complains_about_nothing(visit, report):
    tab, faults = visit(report)
    for summary in tab.locator("summary").all():
        summary.click()
    tab.locator("nav a").last.click()
    tab.wait_for_load_state("networkidle")
    assert faults == []


def test_a_link_of_the_contents_opens_a_folded_section_and_shows_its_title(visit, report):
    tab, _ = visit(report, PHONE)
    tab.locator("nav summary").click()
    name = "Where a_method_with_a_long_name fails"
    folded = tab.locator("details.folded", has=tab.get_by_role("heading", name=name))
    assert folded.get_attribute("open") is None
    tab.locator("nav").get_by_role("link", name=name).click()
    folded.locator("img").first.wait_for(state="visible")
    assert 0 <= folded.get_by_role("heading", name=name).bounding_box()["y"] < 800


def test_every_picture_is_loaded_and_described(visit, report):
    tab, _ = visit(report)
    found = tab.locator("img").evaluate_all("all => all.map(i => [i.complete && i.naturalWidth > 0, i.alt.length > 0])")
    assert len(found) == 3 + 5 + 4 * 4 * 8  # ROC by set, histograms by method, eight of each set of four methods
    assert all(loaded and described for loaded, described in found)


def test_small_pictures_are_enlarged_without_blur(visit, report):
    tab, _ = visit(report)
    small = tab.locator(".pictures img")
    kinds = small.evaluate_all("all => [...new Set(all.map(i => getComputedStyle(i).imageRendering))]")
    assert kinds == ["pixelated"]


def test_the_pictures_name_score_class_and_what_it_was_taken_for(visit, report):
    tab, _ = visit(report)
    spoken = tab.locator(".pictures img").evaluate_all("all => all.map(image => image.alt)")
    of_id = [alt for alt in spoken if alt.startswith("digits")]
    assert all(re.search(r"image \d: score -?\d\S*, class (healthy|pneumonia|effusion)", alt) for alt in of_id)
    assert any("taken for" in alt for alt in of_id)


BEYOND = """() => [...document.querySelectorAll("body *")]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map(element => [element.parentElement.closest(".wide") !== null, element.outerHTML.slice(0, 200)])"""
HIDDEN = """() => [...document.querySelectorAll("section, section *:not(.hint)")]
  .filter(element => getComputedStyle(element).display !== "contents")
  .filter(element => !element.checkVisibility({opacityProperty: true, visibilityProperty: true}))
  .map(element => element.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("width", [PHONE, 500])
def test_a_phone_scrolls_the_page_downwards_only_and_wide_tables_in_their_boxes(visit, report, width):
    tab, _ = visit(report, width)
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert [found for found in tab.evaluate(BEYOND) if not found[0]] == []
    boxes = tab.locator(".wide").evaluate_all("all => all.map(b => [b.scrollWidth > b.clientWidth, b.tabIndex])")
    assert boxes[0] == [True, 0]  # the leaderboard; a box that scrolls takes the focus, for the arrow keys


def test_the_methods_stay_in_sight_while_a_table_scrolls(visit, report):
    tab, _ = visit(report, PHONE)
    box = tab.locator(".wide").first
    box.evaluate("box => box.scrollLeft = 150")
    assert tab.locator("table").first.locator("tbody th").first.bounding_box()["x"] == box.bounding_box()["x"]


CONTRASTS = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter(e => e.tagName !== "SCRIPT" && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
      const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))];
      const tinted = e.closest(".tinted") !== null;
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), b, tinted, e.textContent.trim().slice(0, 40)];
    });
}"""


@pytest.mark.parametrize(("scheme", "medium"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_every_text_stands_out_from_what_is_behind_it(visit, report, scheme, medium):
    tab, _ = visit(report, scheme=scheme)
    tab.emulate_media(media=medium, color_scheme=scheme)
    found = tab.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [text for contrast, _, _, text in found if contrast < 4.5] == []  # WCAG 2, level AA
    assert sum(tinted for _, _, tinted, _ in found) > 20
    brightest = max(behind for _, behind, tinted, _ in found if not tinted)
    assert brightest < 0.05 if (scheme, medium) == ("dark", "screen") else brightest == 1


def test_figures_keep_a_white_plate_in_the_dark(visit, report):
    tab, _ = visit(report, scheme="dark")
    colours = tab.locator("figure img").evaluate_all("all => all.map(i => getComputedStyle(i).backgroundColor)")
    assert set(colours) == {"rgb(255, 255, 255)"}


def test_paper_shows_what_the_screen_folds_and_cuts_nothing_off(visit, report):
    tab, _ = visit(report, PAPER)
    assert tab.locator("details.folded:not([open])").count() > 3
    tab.emulate_media(media="print")
    assert tab.evaluate(HIDDEN) == []
    assert tab.evaluate(BEYOND) == []
    stuck = "() => [...document.querySelectorAll('*')].filter(e => getComputedStyle(e).position !== 'static').length"
    assert tab.evaluate(stuck) == 0

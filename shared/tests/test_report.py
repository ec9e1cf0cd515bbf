import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ood_shared import plots, report
from ood_shared.errors import InputError
from ood_shared.results.thumbnails import png_of
from ood_shared.sections import Cell, Figure, Gallery, Picture, Slider, Table, Text

PNG = png_of(np.zeros((4, 4, 3), np.uint8))
VOID = {"meta", "img", "br", "input"}


class Outline(HTMLParser):
    """Open tags must close in order; texts of cells and headings are collected."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.tags = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag):
        return [text for name, text in self.texts if name == tag]


def sections():
    return [
        Text("", ["First sentence.", "Second sentence."]),
        Table(
            "Summary",
            ["method", "OOD set", "AUROC"],
            [["a", "near", "0.9\n0.8–1.0"], ["a", "far", "1.0"], ["b", "near", "0.7"]],
            note="Score: higher = more OOD.",
            grouped=True,
        ),
        Figure("Curves", plots.roc({"m": (np.zeros(3), np.ones(3))}), caption="What to see."),
        Text("Settings", ["seed = 0", "epochs = 3"], code=True),
        Table("Versions", ["name", "version"], [["torch", "2.13"]]),
    ]


def test_report_is_well_formed_and_holds_every_section():
    page = Outline(report.render("Title", sections()))
    assert page.of("h1") == ["Title"]
    assert page.of("h2") == ["Summary", "Curves", "Settings", "Versions"]
    assert page.of("p") == ["First sentence.", "Second sentence.", "Score: higher = more OOD."]
    assert page.of("figcaption") == ["What to see."]


def test_report_asks_nothing_of_a_network():
    text = re.sub(r"base64,[^\"]*", "", report.render("Title", sections()))
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(|@font-face", text, re.I)


def test_every_contents_link_leads_to_a_heading():
    page = Outline(report.render("Title", sections()))
    ids = {attributes["id"] for tag, attributes in page.tags if tag == "h2"}
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert len(links) == 4
    assert set(links) == ids


def test_equal_sections_have_links_of_their_own():
    twice = [Text("Same", ["x"])] * 6
    page = Outline(report.render("Title", twice))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(set(links)) == 5


def test_grouped_rows_stand_under_one_heading_with_small_second_lines():
    page = Outline(report.render("Title", sections()))
    headings = [attributes for tag, attributes in page.tags if attributes.get("class") == "group"]
    assert len(headings) == 2
    assert page.of("span") == ["a", "b"]
    assert page.of("small") == ["0.8–1.0"]
    assert page.of("td")[:3] == ["0.9", "1.0", "0.7"]


def test_columns_of_numbers_are_aligned_as_numbers():
    page = Outline(report.render("Title", [Table("T", ["name", "n"], [["a", "1.0"], ["b", "–"]])]))
    cells = [attributes.get("class") for tag, attributes in page.tags if tag == "td"]
    assert cells == ["number", "number"]


def test_a_sortable_table_has_buttons_and_the_script_and_others_have_neither():
    plain = Table("Plain", ["a"], [["1"]])
    sortable = Table("Sortable", ["name", "value"], [["x", "1"], ["y", "2"]], sortable=True)
    assert "<script>" not in report.render("T", [plain])
    text = report.render("T", [plain, sortable])
    assert text.count("<script>") == 1
    assert text.count('<table class="sortable">') == 1
    assert text.count('<button type="button">') == 2


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("98.4\n[97, 99]", "98.4"),
        ("−1.5", "-1.5"),
        ("-1e-3", "-0.001"),
        ("<0.01", "0.01"),
        ("12 %", "12.0"),
        ("–", None),
        (Cell("1 min 5 s", 65.0), "65.0"),
        (Cell("–", None), None),
    ],
)
def test_a_cell_of_numbers_sorts_by_its_first_number_or_its_key(cell, key):
    page = Outline(report.render("T", [Table("T", ["name", "n"], [["x", cell]], sortable=True)]))
    (found,) = [attributes for tag, attributes in page.tags if tag == "td"]
    assert (found.get("data-key"), found["class"]) == (key, "number")


def test_words_have_no_key():
    page = Outline(report.render("T", [Table("T", ["name", "n"], [["1a", "x"], ["2", "3"]], sortable=True)]))
    assert [a.get("data-key") for tag, a in page.tags if tag in ("td", "th") and "scope" not in a] == [None, None]


def test_a_grouped_table_may_be_sortable():
    rows = [["near", "a", "1"], ["near", "b", "2"], ["far", "a", "3"]]
    text = report.render("T", [Table("T", ["set", "method", "n"], rows, grouped=True, sortable=True)])
    assert text.count("<tbody>") == 2
    assert text.count('<button type="button">') == 2


def test_the_arrow_of_a_head_stays_with_its_word():
    page = Outline(report.render("T", [Table("T", ["method", "AUPR in ↑"], [["a", "1"]])]))
    assert page.of("th") == ["method", "AUPR in\N{NO-BREAK SPACE}↑", "a"]


def sliding(**changes):
    cells = [Cell("0.5", 0.5, stops=["0.1", "0.5", "0.9"]), Cell("–", None, stops=["–", "–", "0.2"])]
    about = {"slider": Slider("False alarms", ["1 %", "5 %", "50 %"], 1), "sortable": True} | changes
    return Table("T", ["name", "set"], [["a", cells[0]], ["b", cells[1]]], **about)


def test_a_slider_has_a_label_an_output_and_starts_where_the_table_stands():
    page = Outline(report.render("T", [sliding()]))
    found = {tag: attributes for tag, attributes in page.tags if tag in ("label", "input", "output")}
    assert found["input"]["type"] == "range"
    assert (found["input"]["min"], found["input"]["max"], found["input"]["value"]) == ("0", "2", "1")
    assert found["label"]["for"] == found["output"]["for"] == found["input"]["id"]
    assert "hidden" in found["input"]  # until a script runs
    assert (page.of("label"), page.of("output")) == (["False alarms"], ["5 %"])
    cells = [attributes for tag, attributes in page.tags if tag == "td"]
    assert [cell["data-stops"] for cell in cells] == ["0.1|0.5|0.9", "–|–|0.2"]
    assert page.of("td") == ["0.5", "–"]


@pytest.mark.parametrize(
    "slider",
    [None, Slider("s", ["1 %", "5 %"], 1), Slider("s", ["1 %", "5 %", "50 %"], 0)],
    ids=["none", "few", "other"],
)
def test_cells_that_do_not_fit_the_slider_are_refused(slider):
    with pytest.raises(InputError, match=r"Table `T` has a slider of \d positions, but the cell `0.5` has 3 texts"):
        report.render("T", [sliding(slider=slider)])


def test_a_tint_goes_from_white_to_a_blue_that_black_stands_out_from():
    shares = (0.0, 0.5, 1.0, 1.5)
    rows = [[str(share), Cell("9", 9.0, tint=share)] for share in shares] + [["none", Cell("9", 9.0)]]
    page = Outline(report.render("T", [Table("T", ["name", "n"], rows)]))
    styles = [attributes.get("style") for tag, attributes in page.tags if tag == "td"]
    assert styles == ["background: #ffffff", "background: #bad9ee", *["background: #74b3dc"] * 2, None]


def test_a_command_stands_below_its_text_to_be_copied():
    page = Outline(report.render("T", [Text("Verdict", ["To use it:"], command="ood-detect <b>")]))
    assert page.of("pre") == ["ood-detect <b>"]


def test_a_gallery_shows_its_pictures_with_captions_and_descriptions():
    rows = [("near\n8 of 100", [Picture(PNG, "0.5\n3", "near, image 1"), Picture(PNG, "0.6", "near, image 2")])]
    page = Outline(report.render("Title", [Gallery("Failures", rows, note="What is below.")]))
    assert page.of("h3") == ["near"]
    assert page.of("small") == ["8 of 100"]
    assert page.of("span") == ["0.5", "3", "0.6"]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["near, image 1", "near, image 2"]
    assert base64.b64decode(images[0]["src"].split(",")[1]) == PNG


def test_a_folded_section_shows_its_title_only():
    page = Outline(
        report.render("Title", [Text("Open", ["x"]), Text("Settings", ["seed = 0"], code=True, folded=True)])
    )
    assert page.of("h2") == ["Open", "Settings"]
    assert [tag for tag, _ in page.tags if tag in ("details", "summary", "pre")] == ["details", "summary", "pre"]
    page = Outline(report.render("Title", [Figure("Open", PNG), Figure("Folded", PNG, folded=True)]))
    assert [tag for tag, _ in page.tags if tag in ("details", "img")] == ["img", "details", "img"]


def test_a_picture_that_is_no_png_is_refused():
    with pytest.raises(InputError, match="A picture of `G` was given 3 bytes"):
        report.render("Title", [Gallery("G", [("row", [Picture(b"GIF", "", "")])])])


@pytest.mark.parametrize("name", ["<b>", '"><script>alert(1)</script>', "a & b", "{{ 7 * 7 }}"])
def test_names_are_escaped_wherever_they_stand(name):
    everywhere = [
        Text(name, [name]),
        Text(name, [name], code=True),
        Table(name, [name], [[f"{name}\n{name}"]], note=name, grouped=False),
        Table(name, [name, name], [[name, name]], grouped=True),
        Figure(name, plots.curves({name: [1.0, 2.0]}), caption=name, alternative=name),
        Gallery(name, [(name, [Picture(PNG, name, name)])], note=name, folded=True),
    ]
    page = Outline(report.render(name, everywhere))
    assert {tag for tag, _ in page.tags}.isdisjoint({"b", "script"})
    assert page.of("h1") == [name]
    assert page.of("p") == [name, name, name]
    assert page.of("pre") == [name]
    assert page.of("th") == [name, name, name, name]
    assert page.of("h3") == [name]
    assert page.of("span") == [name, name]
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [name, name]
    assert [attributes["aria-label"] for tag, attributes in page.tags if tag == "div" and "role" in attributes] == [
        name,
        name,
    ]


def test_figures_are_embedded_as_png():
    png = plots.to_png(plots.curves({"loss": [1.0, 0.5]}))
    page = Outline(report.render("Title", [Figure("F", png)]))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == png
    assert image["alt"] == "F"


def test_an_image_that_is_no_png_is_refused():
    with pytest.raises(InputError, match="Figure `F` was given 3 bytes"):
        report.render("Title", [Figure("F", b"GIF")])


def test_a_row_of_another_length_is_refused():
    with pytest.raises(InputError, match="Table `T` has 2 columns, but a row of 1"):
        report.render("Title", [Table("T", ["a", "b"], [["x"]])])


def test_write_report_leaves_one_file_in_utf8(tmp_path):
    report.write_report(tmp_path / "deep" / "report.html", "Größe ≥ 3", [Text("", ["–"])])
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert "Größe ≥ 3" in (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")


def test_write_report_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(InputError):
        report.write_report(path, "Title", [Table("T", ["a", "b"], [["x"]])])
    assert path.read_text() == "old"

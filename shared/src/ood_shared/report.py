"""One self-contained HTML file: text, tables and figures, readable on a phone, on paper and without a network.

Everything is embedded. Whatever comes from names, paths or logs is escaped by the template.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ood_shared import files, plots
from ood_shared.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

NUMBER = re.compile(r"[-+−–<>≤≥~]?\s?\d.*|[–—-]", re.S)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Text:
    """Paragraphs; `code` keeps line breaks and uses a fixed-width font (settings, the end of a log)."""

    title: str
    paragraphs: Sequence[str]
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table. The first line of a cell is shown large, further lines small below it (a value and its interval).

    With `grouped`, rows that share their first cell stand together under it as a heading, which saves the column. With
    `sortable`, a click on a column's head sorts by it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    grouped: bool = False
    sortable: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture: the bytes of a PNG file, or a matplotlib figure, which is drawn and released.

    `alternative` describes it to those who do not see it; the title serves when it is empty.
    """

    title: str
    image: "bytes | matplotlib.figure.Figure"
    caption: str = ""
    alternative: str = ""


Section = Text | Table | Figure


def write_report(path: Path | str, title: str, sections: Sequence[Section]) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the HTML file.
        title: heading of the page.
        sections: in the order of reading.

    Raises:
        InputError: a table with a row that is not as long as its header, or an image that is no PNG.
    """
    files.write_text(Path(path), render(title, sections))


def render(title: str, sections: Sequence[Section]) -> str:
    """The report as HTML text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ood_shared", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    prepared = [{**_prepare(section), "anchor": f"s{number}"} for number, section in enumerate(sections, 1)]
    return environment.get_template("report.html.j2").render(title=title, sections=prepared)


def _prepare(section: Section) -> dict[str, object]:
    """What the template shows of a section, as plain values."""
    if isinstance(section, Text):
        return {"kind": "text", "title": section.title, "paragraphs": list(section.paragraphs), "code": section.code}
    if isinstance(section, Figure):
        return {
            "kind": "figure",
            "title": section.title,
            "image": _embedded(section),
            "caption": section.caption,
            "alternative": section.alternative or section.title,
        }
    return _prepare_table(section)


def _prepare_table(table: Table) -> dict[str, object]:
    for row in table.rows:
        if len(row) != len(table.header):
            raise InputError(f"Table `{table.title}` has {len(table.header)} columns, but a row of {len(row)}: {row}.")
    hidden = 1 if table.grouped else 0
    columns = [[row[c] for row in table.rows] for c in range(len(table.header))]
    numeric = [bool(column) and all(NUMBER.fullmatch(cell) for cell in column) for column in columns]
    by_heading = groupby(table.rows, key=lambda row: row[0] if table.grouped else "")
    return {
        "kind": "table",
        "title": table.title,
        "header": list(table.header[hidden:]),
        "numeric": numeric[hidden:],
        "groups": [
            {"heading": heading, "rows": [[cell.split("\n") for cell in row[hidden:]] for row in rows]}
            for heading, rows in by_heading
        ],
        "note": table.note,
        "sortable": table.sortable and not table.grouped,
    }


def _embedded(figure: Figure) -> str:
    png = figure.image if isinstance(figure.image, bytes) else plots.to_png(figure.image)
    if not png.startswith(PNG_SIGNATURE):
        raise InputError(f"Figure `{figure.title}` was given {len(png)} bytes that are no PNG file.")
    return base64.b64encode(png).decode("ascii")

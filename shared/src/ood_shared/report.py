"""One self-contained HTML file: text, tables and figures, readable on a phone, on paper and without a network.

Everything is embedded. Whatever comes from names, paths or logs is escaped by the template.
"""

import base64
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from ood_shared import files, plots
from ood_shared.errors import InputError, not_installed
from ood_shared.sections import Cell, Figure, Gallery, Picture, Section, Table, Text

NUMBER = re.compile(r"[-+−–<>≤≥~]?\s?\d.*|[–—-]", re.S)
LEADING = re.compile(r"[<>≤≥~]?\s?([-+−–]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALE, DEEP = (255, 255, 255), (116, 179, 220)  # ends of the tint; black text stands out from both (9.4 to 1 and more)
BETWEEN = "|"  # stands between the texts of a slider's positions in the page


def write_report(path: Path | str, title: str, sections: Sequence[Section]) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the HTML file.
        title: heading of the page.
        sections: in the order of reading.

    Raises:
        InputError: a table with a row that is not as long as its header, a cell that does not fit the table's slider,
            or an image that is no PNG.
    """
    files.write_text(Path(path), render(title, sections))


def render(title: str, sections: Sequence[Section]) -> str:
    """The report as HTML text."""
    try:
        import jinja2
    except ImportError:
        raise not_installed("The report", "jinja2", "report") from None

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ood_shared", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    prepared = [
        {**_prepare(section), "anchor": f"s{number}", "folded": getattr(section, "folded", False)}
        for number, section in enumerate(sections, 1)
    ]
    return environment.get_template("report.html.j2").render(title=title, sections=prepared)


def _prepare(section: Section) -> dict[str, object]:
    """What the template shows of a section, as plain values."""
    if isinstance(section, Text):
        about = {"paragraphs": list(section.paragraphs), "code": section.code, "command": section.command}
        return {"kind": "text", "title": section.title, **about}
    if isinstance(section, Figure):
        return {
            "kind": "figure",
            "title": section.title,
            "image": _embedded(section),
            "caption": section.caption,
            "alternative": section.alternative or section.title,
        }
    if isinstance(section, Gallery):
        rows = [(heading.split("\n"), [_prepare_picture(p, section) for p in row]) for heading, row in section.rows]
        return {"kind": "gallery", "title": section.title, "rows": rows, "note": section.note}
    return _prepare_table(section)


def _prepare_table(table: Table) -> dict[str, object]:
    for row in table.rows:
        if len(row) != len(table.header):
            raise InputError(f"Table `{table.title}` has {len(table.header)} columns, but a row of {len(row)}: {row}.")
        _check_stops(table, [cell for cell in row if isinstance(cell, Cell)])
    hidden = 1 if table.grouped else 0
    columns = [[row[c] for row in table.rows] for c in range(len(table.header))]
    numeric = [bool(column) and all(map(_is_number, column)) for column in columns]
    by_heading = groupby(table.rows, key=lambda row: _text(row[0]) if table.grouped else "")
    groups = [
        {
            "heading": heading.split("\n"),
            "rows": [
                [_prepare_cell(cell, number) for cell, number in pairs]
                for pairs in (list(zip(row, numeric, strict=True))[hidden:] for row in rows)
            ],
        }
        for heading, rows in by_heading
    ]
    return {
        "kind": "table",
        "title": table.title,
        "header": [re.sub(" (?=[↑↓])", "\N{NO-BREAK SPACE}", name) for name in table.header[hidden:]],
        "numeric": numeric[hidden:],
        "grouped": table.grouped,
        "groups": groups,
        "note": table.note,
        "sortable": table.sortable,
        "slider": table.slider,
        "stops": BETWEEN.join(table.slider.stops) if table.slider else "",
    }


def _prepare_cell(cell: str | Cell, number: bool) -> dict[str, object]:
    tint, stops = (cell.tint, cell.stops) if isinstance(cell, Cell) else (None, ())
    return {
        "lines": _text(cell).split("\n"),
        "key": _key(cell) if number else None,
        "tint": None if tint is None else _tinted(tint),
        "stops": BETWEEN.join(stops),
    }


def _tinted(share: float) -> str:
    mixed = (round(pale + (deep - pale) * min(max(share, 0), 1)) for pale, deep in zip(PALE, DEEP, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _check_stops(table: Table, cells: Sequence[Cell]) -> None:
    stops, start = (table.slider.stops, table.slider.start) if table.slider else ((), 0)
    for cell in cells:
        if cell.stops and (len(cell.stops) != len(stops) or cell.stops[start] != cell.text):
            raise InputError(
                f"Table `{table.title}` has a slider of {len(stops)} positions, but the cell `{cell.text}` has "
                f"{len(cell.stops)} texts; expected one for each, and its own at the start."
            )


def _is_number(cell: str | Cell) -> bool:
    return isinstance(cell, Cell) or NUMBER.fullmatch(cell) is not None


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _key(cell: str | Cell) -> float | None:
    """What a cell of numbers sorts by; None where it has no number."""
    if isinstance(cell, Cell):
        return cell.key
    match = LEADING.match(cell)
    return float(re.sub("[−–]", "-", match.group(1))) if match else None


def _prepare_picture(picture: Picture, gallery: Gallery) -> dict[str, object]:
    image = _encoded(picture.image, f"A picture of `{gallery.title}`")
    return {"image": image, "caption": picture.caption.split("\n"), "alternative": picture.alternative}


def _embedded(figure: Figure) -> str:
    png = figure.image if isinstance(figure.image, bytes) else plots.to_png(figure.image)
    return _encoded(png, f"Figure `{figure.title}`")


def _encoded(png: bytes, what: str) -> str:
    if not png.startswith(PNG_SIGNATURE):
        raise InputError(f"{what} was given {len(png)} bytes that are no PNG file.")
    return base64.b64encode(png).decode("ascii")

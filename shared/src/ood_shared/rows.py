"""The CSV of a scoring: a row for each image, written as it comes, read again one by one by a run that goes on."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ood_shared.errors import InputError, one_line
from ood_shared.files import csv_cell, plain_cell

COLUMNS = ("file", "score", "p_value", "decision", "class", "driver", "nearest", "problem")
ID, OOD, UNREAD = "ID", "OOD", "unreadable"
MOST_ROW = 1 << 20  # bytes of a row; a longer one is no row of ours


@dataclass(frozen=True)
class Row:
    """What is said of an image; only the problem where it cannot be read.

    Attributes:
        file: name of the image.
        score: higher = more OOD.
        p: conformal p-value.
        decision: `ID`, `OOD` or `unreadable`.
        class_name: that the image is taken for; empty where there is none.
        driver: what drove the score; empty where nothing is known of it.
        nearest: name of the nearest training image; empty where none is known.
        problem: why the image cannot be read.
    """

    file: str
    score: float | None = None
    p: float | None = None
    decision: str = UNREAD
    class_name: str = ""
    driver: str = ""
    nearest: str = ""
    problem: str = ""

    def cells(self) -> list[str]:
        """As `COLUMNS` has them."""
        numbers = ["" if value is None else f"{value:.9g}" for value in (self.score, self.p)]
        texts = map(csv_cell, (self.decision, self.class_name, self.driver, self.nearest, self.problem))
        return [csv_cell(self.file), *numbers, *texts]


def write_rows(file: TextIO, rows: Iterable[Sequence[str]]) -> None:
    """Write rows of cells; with a carriage return quoted, which the module csv of some versions leaves bare."""
    minimal, full = (csv.writer(file, lineterminator="\n", quoting=way) for way in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for cells in rows:
        (full if any("\r" in cell for cell in cells) else minimal).writerow(cells)


def whole_rows(target: Path) -> Iterator[tuple[Row, int]]:
    """The whole rows of a CSV, each with the bytes up to its end; a last one that a kill cut short is left out.

    One row is in memory at a time. The header comes as a row too, whose `file` is `file`.

    Raises:
        InputError: the file has other columns, or is no CSV of ours.
    """
    with target.open("rb") as file:
        end, record, header = 0, b"", True
        while line := file.readline(MOST_ROW):
            record += line
            if len(record) >= MOST_ROW:
                raise _other(target, "a row without an end")
            if not record.endswith(b"\n") or record.count(b'"') % 2:  # a name may hold a line break, within quotes
                continue
            cells = _cells(target, record)
            end += len(record)
            record = b""
            if header and tuple(cells) != COLUMNS:
                raise _other(target, f"the columns {', '.join(cells)[:200]}")
            yield _row(target, cells, header), end
            header = False


def _cells(target: Path, record: bytes) -> list[str]:
    try:
        return next(csv.reader([record.decode("utf-8", "surrogateescape")], strict=True))
    except csv.Error as error:
        raise _other(target, f"a row that is no CSV ({error})") from None


def _row(target: Path, cells: list[str], header: bool) -> Row:
    if header:
        return Row(cells[0])
    try:
        name, score, p, decision, class_name, driver, nearest, problem = map(plain_cell, cells)
        numbers = [float(text) if text else None for text in (score, p)]
    except ValueError:
        raise _other(target, f"the row {','.join(cells)[:200]}") from None
    if decision not in (ID, OOD, UNREAD):
        raise _other(target, f"the decision {decision[:80]}")
    return Row(name, numbers[0], numbers[1], decision, class_name, driver, nearest, problem)


def _other(target: Path, found: str) -> InputError:
    return InputError(
        f"--resume: {target} has {one_line(found, 200)}, expected the columns {', '.join(COLUMNS)}. Name another --csv."
    )

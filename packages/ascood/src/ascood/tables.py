"""Tables of an evaluation: mean and spread over runs, as text and as csv in OpenOOD's form."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from ascood.evaluator import Row
from ascood.metrics import COLUMNS


def cells(runs: Sequence[Sequence[Row]], spread: bool = True) -> list[list[str]]:
    """Rows of name and five cells: `mean ± std` over the runs (population std), or the mean alone; two decimals."""
    rows = []
    for at, (name, _) in enumerate(runs[0]):
        values = np.array([[run[at][1][column] for column in COLUMNS] for run in runs])
        means, stds = values.mean(0), values.std(0)
        row = [f"{m:.2f} ± {s:.2f}" if spread else f"{m:.2f}" for m, s in zip(means, stds, strict=True)]
        rows.append([name, *row])
    return rows


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """The table as csv; the first column has no name."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["", *COLUMNS])
    writer.writerows(rows)
    return buffer.getvalue()


def as_text(rows: Sequence[Sequence[str]], title: str) -> str:
    """The table for a terminal, columns aligned."""
    table = [["", *COLUMNS], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join([title, *lines])

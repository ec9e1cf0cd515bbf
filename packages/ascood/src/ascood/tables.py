"""Tables of an evaluation, mean and spread over runs, as text and as csv in OpenOOD's form; and its `result.json`."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from ood_shared.files import csv_cell
from ood_shared.results.record import make_result, pack_scores, write_result

from ascood.evaluator import Evaluator, Row
from ascood.metrics import COLUMNS
from ascood.scores.base import Score

METHOD = "ascood"
PAPER = "Regmi, Image-based Outlier Synthesis With Training Data, arXiv 2411.10794"


def cells(runs: Sequence[Sequence[Row]], spread: bool = True) -> list[list[str]]:
    """Rows of name and five cells: `mean ± std` over the runs (population std), or the mean alone; two decimals."""
    rows = []
    for at, (name, _) in enumerate(runs[0]):
        values = np.array([[run[at][1][column] for column in COLUMNS] for run in runs])
        means, stds = values.mean(0), values.std(0)
        row = [f"{m:.2f} ± {s:.2f}" if spread else f"{m:.2f}" for m, s in zip(means, stds, strict=True)]
        rows.append([name, *row])
    return rows


def as_csv(rows: Sequence[Sequence[str]], head: str | None = "") -> str:
    """The table as csv; `head` names the first column, None leaves the names of all out."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if head is not None:
        writer.writerow([head, *COLUMNS])
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
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


def shared_arrays(evaluator: Evaluator, arrays: Mapping[str, np.ndarray], fsood: bool) -> dict[str, np.ndarray]:
    """Scores (higher = more OOD) of ID test and every OOD set, from the confidences of an evaluation.

    Predictions are the arg-max of the plain logits, as the accuracy of the tables counts them. With `fsood` the
    covariate-shifted sets are ID, after those of the test.
    """
    of_id = evaluator.id_keys(fsood)
    outputs = [evaluator.extract(key) for key in of_id]
    outliers = {
        source.name: (-arrays[f"{part}/{source.name}/conf"].astype(np.float64), arrays[f"{part}/{source.name}/pred"])
        for part in ("near", "far")
        for source in getattr(evaluator.suite, part)
    }
    scores = -np.concatenate([arrays[f"{key}/conf"] for key in of_id]).astype(np.float64)
    labels, predicted = torch.cat([o.labels for o in outputs]), torch.cat([o.logits.argmax(1) for o in outputs])
    return pack_scores(evaluator.suite.name, (scores, labels, predicted), outliers)


def write_run_result(
    folder: Path,
    evaluator: Evaluator,
    score: Score,
    arrays: Mapping[str, np.ndarray],
    wrapper: str | None,
    aps: bool,
    fsood: bool,
) -> None:
    """`<run>/results/<score>/result.json` and `scores.npz`; with `fsood` in `results/<score>_fsood`."""
    packed = shared_arrays(evaluator, arrays, fsood)
    seed = int(folder.name[1:]) if folder.name[1:].isdecimal() else 0
    result = make_result(
        packed,
        method=METHOD,
        paper=PAPER,
        seed=seed,
        budget="full",
        config={"score": score.settings(), "wrapper": wrapper, "aps": aps, "fsood": fsood},
        timings={},
        device=evaluator.device,
        checkpoint=str(evaluator.identity.get("weights")),
    )
    write_result(folder / "results" / (f"{score.name}_fsood" if fsood else score.name), result, packed)

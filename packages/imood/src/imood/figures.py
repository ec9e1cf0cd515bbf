"""ROC curves, histograms and one self-contained page for the result of a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared import plots
from ood_shared.report import Figure, Section, Table, Text, write_report
from ood_shared.results.record import split_scores


def write_pictures(folder: Path, result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `roc.png`, `histograms.png` and `report.html` into a result folder."""
    reference, *others = split_scores(arrays)
    scores = dict(zip(result["ood_datasets"], others, strict=True))
    plots.save(plots.roc({name: (reference, values) for name, values in scores.items()}), folder / "roc.png")
    plots.save(plots.histograms(reference, scores), folder / "histograms.png")
    config, published = result["config"], result["published"]
    counts = config["class_counts"]
    rows = [
        [name, *(_cell(cells[key]) for key in ("auroc", "aupr_out", "fpr95"))]
        for name, cells in result["metrics"].items()
    ]
    groups = [
        [name, _share(published[name]), _share(result["group_auroc"][name])] for name in ("many", "median", "low")
    ]
    sections: list[Section] = [
        Text(
            "What was tested",
            [
                f"Score {config['ood_metric']} at tau {config['logit_adjust']}.",
                f"Trained on {sum(counts)} images of {len(counts)} classes of {result['id_dataset']}.",
                f"ID accuracy {_share(published['accuracy'])}.",
            ],
        ),
        Table(
            "Outlier sets",
            ["set", "AUROC", "AUPR (OOD positive)", "FPR at 95 % of OOD caught"],
            rows,
            note="95 % bootstrap intervals. Images that show an ID class are left out.",
        ),
        Table("Classes by their number of training images", ["group", "accuracy", "mean AUROC"], groups),
        Figure("ROC curves", (folder / "roc.png").read_bytes()),
        Figure("Scores", (folder / "histograms.png").read_bytes()),
    ]
    write_report(folder / "report.html", f"ImOOD on {result['id_dataset']}", sections)


def _cell(entry: Mapping[str, float]) -> str:
    return f"{entry['value']:.4f}\n{entry['low']:.4f} to {entry['high']:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

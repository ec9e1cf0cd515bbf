"""Pictures of a run: the curves of a training, and the page of a test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared import plots
from ood_shared.results.page import write_page
from ood_shared.sections import Section, Table, Text

GROUPS = ("many", "median", "low")


def draw_curves(folder: Path, histories: Mapping[str, Sequence[float]], with_groups: bool) -> None:
    """`losses.png`, `test_accs.png`, `test_f1s.png`."""
    losses = {"training": histories["training_losses"], "test": histories["test_clean_losses"]}
    names = ("overall", *GROUPS) if with_groups else ("overall",)
    accuracies = {name: histories[f"{name}_accs"] for name in names}
    for file, series, label in (
        ("losses.png", losses, "loss"),
        ("test_accs.png", accuracies, "accuracy"),
        ("test_f1s.png", {"macro F1": histories["f1s"]}, "F1"),
    ):
        plots.save(plots.curves(series, ylabel=label, first=0), folder / file)


def write_pictures(folder: Path, result: Mapping[str, Any], arrays: Mapping[str, np.ndarray], command: str) -> None:
    """Write `roc.png`, `histograms.png` and `report.html` into a result folder."""
    config, published = result["config"], result["published"]
    counts, id_name = config["class_counts"], result["id_dataset"]
    groups = [[name, _share(published[name]), _share(result["group_auroc"][name])] for name in GROUPS]
    first: list[Section] = [
        Text(
            "What was tested",
            [
                f"Score {config['ood_metric']} at tau {config['logit_adjust']}.",
                f"Trained on {sum(counts)} images of {len(counts)} classes of {id_name}.",
                f"Outlier sets: {', '.join(result['ood_datasets'])}; images that show an ID class are left out.",
            ],
        ),
        Table("Classes by their number of training images", ["group", "accuracy", "mean AUROC"], groups),
    ]
    write_page(folder, dict(result), dict(arrays), f"ImOOD on {id_name}", command, first)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

"""`report.html` of a run folder: curves of the training, the synthesised outliers, and the test results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ood_shared import plots, report
from ood_shared.report import Figure, Section, Table, Text
from torch import nn

from ascood.data.loading import TestBatches, normalised
from ascood.figures import synthesis_figure
from ascood.heads import ASCOODNet

REPORT, PICTURE = "report.html", "outliers.png"
IMAGES = 4
ALPHAS = {"gradient": 30.0, "shuffle": 1.0, "gaussian": 0.1}  # of the paper's settings


def training_report(
    folder: Path,
    history: Sequence[Mapping[str, float]],
    facts: Mapping[str, Any],
    network: nn.Module,
    test: TestBatches,
) -> None:
    """Write the report, and `outliers.png` for networks of ASCOOD."""
    sections: list[Section] = [Text("Run", [f"{key}: {value}" for key, value in facts.items()])]
    losses = {name: [record[name] for record in history] for name in ("train_loss", "val_loss")}
    sections.append(
        Figure("Loss", plots.curves(losses), "The training loss is smoothed and starts at 0 in every epoch.")
    )
    accuracy = {"validation accuracy": [record["val_accuracy"] for record in history]}
    sections.append(Figure("Accuracy", plots.curves(accuracy, ylabel="accuracy")))
    if isinstance(network, ASCOODNet):
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(test.samples), generator=generator)[:IMAGES].sort().values
        part = test.samples.select(chosen.numpy())
        images = normalised(part, test.chain).to(test.device)
        labels = torch.from_numpy(part.labels).to(test.device)
        figure = synthesis_figure(network.eval(), images, labels, test.chain, 0.1, ALPHAS, generator)
        picture = plots.to_png(figure)
        (folder / PICTURE).write_bytes(picture)
        caption = "Test images, where their true-class logit comes from, and the outlier that each type makes of them."
        sections.append(Figure("Synthesised outliers", picture, caption))
    report.write_report(folder / REPORT, "ASCOOD training", sections)


def results_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Table:
    """A table for the report of an evaluation."""
    return Table(title, list(header), [list(row) for row in rows], note)

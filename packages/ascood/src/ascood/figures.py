"""Pictures and pages: image, attribution and outliers side by side; `report.html` of a training, of an evaluation."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ood_shared import plots, report
from ood_shared.devices import resolve_device
from ood_shared.sections import Figure, Section, Table, Text
from torch import Tensor, nn

from ascood.attribution import saliency
from ascood.build import open_run
from ascood.data.decoded import normalised
from ascood.data.loading import TestBatches
from ascood.data.preprocessing import Chain
from ascood.data.suites import make_suite
from ascood.heads import ASCOODNet
from ascood.metrics import COLUMNS
from ascood.outliers import OOD_TYPES, draw_noise, make_outliers
from ascood.run_files import BEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

REPORT, PICTURE = "report.html", "outliers.png"
IMAGES = 4
ALPHAS = {"gradient": 30.0, "shuffle": 1.0, "gaussian": 0.1}  # of the paper's settings


def synthesis_figure(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    chain: Chain,
    p_inv: float,
    alphas: dict[str, float],
    generator: torch.Generator,
    ood_types: Sequence[str] = OOD_TYPES,
) -> "Drawing":
    """One row an image: the image, where its attribution lies, and its outliers.

    Args:
        network: in evaluation mode.
        images: normalised (n, 3, height, width).
        labels: int64 (n,), the classes to attribute.
        chain: gives the normalisation that is undone for display.
        p_inv: share of the values or positions.
        alphas: strength for each type.
        generator: of the outliers' draws.
        ood_types: the columns.
    """
    attribution = saliency(network, images, labels)
    columns = [_shown(images, chain), _map(attribution)]
    titles = ["image", "attribution"]
    for ood_type in ood_types:
        noise = draw_noise(images, p_inv, ood_type, generator)
        made = make_outliers(images, attribution, ood_type, p_inv, alphas[ood_type], noise)
        columns.append(_shown(made, chain))
        titles.append(ood_type if ood_type == "shuffle" else f"{ood_type} (alpha {alphas[ood_type]:g})")
    grid = torch.stack(columns, dim=1).flatten(0, 1)  # (n * columns, 3, height, width)
    return plots.image_grid(grid, titles * len(images), columns=len(columns), title=f"Outliers, p_inv {p_inv:g}")


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


def evaluation_report(folder: Path, tables: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Write the report of an evaluation: for each score the rows of its table.

    Args:
        folder: with the csv files.
        tables: rows of name and five cells, by score.
    """
    note = "Percent; FPR@95 is the share of ID flagged where 95 % of OOD are caught."
    sections = [Table(name, ["set", *COLUMNS], [list(row) for row in rows], note) for name, rows in tables.items()]
    report.write_report(folder / REPORT, f"OOD detection, {folder.parent.name}", sections)


def picture(options: argparse.Namespace) -> int:
    """`ascood picture`: write the figure for a trained run, or for the weights at the start."""
    device = resolve_device(options.device)
    suite = make_suite(options.id_data, options.data_dir)
    network = open_run(Path(options.root) / BEST, options.network, options.wrapper_net, suite, device)
    samples = suite.id_sets["test"].load()
    generator = torch.Generator().manual_seed(options.seed)
    chosen = torch.randperm(len(samples), generator=generator)[: options.images].sort().values
    part = samples.select(chosen.numpy())
    images = normalised(part, suite.chain).to(device)
    labels = torch.from_numpy(part.labels).to(device)
    alphas = {"gradient": options.alpha, "shuffle": 1.0, "gaussian": options.gaussian_alpha}
    figure = synthesis_figure(network, images, labels, suite.chain, options.p_inv, alphas, generator)
    path = Path(options.output)
    plots.save(figure, path)
    print(f"{path}: {len(part)} images of {suite.name}")
    return 0


def _shown(images: Tensor, chain: Chain) -> Tensor:
    """Normalised images in the [0, 1] scale; what lies outside is drawn as black or white."""
    mean, std = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (chain.mean, chain.std))
    return (images * std + mean).clamp(0, 1).cpu()


def _map(attribution: Tensor) -> Tensor:
    """Sum of the absolute attribution over the channels, white at its 99th percentile in each image."""
    total = attribution.abs().sum(1, keepdim=True)
    top = total.flatten(1).quantile(0.99, dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
    return (total / top).clamp(0, 1).expand(-1, 3, -1, -1).cpu()

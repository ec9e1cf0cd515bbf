"""The picture: image, attribution map, and the outlier of each type, side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from ood_shared import plots
from ood_shared.devices import resolve_device
from torch import Tensor, nn

from ascood.attribution import saliency
from ascood.data.preprocessing import Chain
from ascood.outliers import OOD_TYPES, draw_noise, make_outliers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def synthesis_figure(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    chain: Chain,
    p_inv: float,
    alphas: dict[str, float],
    generator: torch.Generator,
    ood_types: Sequence[str] = OOD_TYPES,
) -> "Figure":
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


def picture(options: argparse.Namespace) -> int:
    """`ascood picture`: write the figure for a trained run, or for the weights at the start."""
    from ascood.build import open_run
    from ascood.data.loading import normalised
    from ascood.data.suites import make_suite
    from ascood.run_files import BEST

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

"""The pictures that a training leaves: what its inliers and outliers are made of and look like."""

from typing import TYPE_CHECKING

import torch
from ood_shared import plots

from know_your_space.data.parts import Part
from know_your_space.inliers import draw_latent
from know_your_space.outliers import jitter_contrast, latent_tails, pixel_inliers, pixel_outliers
from know_your_space.queues import LatentQueue
from know_your_space.randconv import draw_kernel, random_convolution
from know_your_space.settings import TrainSettings
from know_your_space.transforms import channel_scale, evaluation_transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8
SHOWN = 250  # latent samples and features of each class in the map, at most


def sample_rows(part: Part, settings: TrainSettings, seed: int) -> "Figure":
    """Training images, and below each what is made of it: outliers, convolved ones, pixel inliers.

    Rows of things that the settings do not use are left out.

    Args:
        part: training images; shown as stored, also where the ID images have reversed channels.
        settings: of the run.
        seed: picks images and draws; the run's own generators are left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = part.images[torch.randperm(len(part), generator=generator)[:COLUMNS]].cpu()
    chosen = chosen.flip(1) if part.reversed else chosen
    rows, titles = [evaluation_transform(chosen)], ["training image"]
    if settings.outlier_space == "pixel":
        for operator in settings.operators:
            side = None if settings.augmix_canvas == "original" else max(chosen.shape[2:])
            made = pixel_outliers(chosen, [operator], settings.augmix_severity, generator, canvas=side)
            rows.append(jitter_contrast(made, settings.outlier_contrast, generator))
            titles.append({"augmix_jigsaw": "AugMix + tiles", "jigsaw": "tiles"}[operator])
        if settings.rand_conv:
            made = random_convolution(rows[0], draw_kernel(settings.rand_conv_sizes, generator))
            rows.append(jitter_contrast(made, settings.outlier_contrast, generator))
            titles.append("convolution")
    if settings.inlier_space == "pixel":
        rows.append(pixel_inliers(chosen, generator))
        titles.append("mild AugMix")
    mean, std = channel_scale(torch.device("cpu"))
    # the title stands above the first image of its row
    labels = [title if column == 0 else "" for title in titles for column in range(len(chosen))]
    return plots.image_grid(torch.cat(rows) * std + mean, titles=labels, columns=len(chosen))


def latent_map(queue: LatentQueue, names: tuple[str, ...], settings: TrainSettings, seed: int) -> "Figure":
    """Queued features and latent samples in the plane of the queue's two principal axes.

    Args:
        queue: full.
        names: of the classes.
        settings: of the run.
        seed: of the latent samples.
    """
    generator = torch.Generator().manual_seed(seed)
    features = queue.ordered().float().cpu()  # (classes, length, dim)
    flat = features.flatten(0, 1)
    centre = flat.mean(dim=0)
    axes = torch.linalg.svd(flat - centre, full_matrices=False).Vh[:2].T  # (dim, 2)
    groups = {f"class {name}": (features[k][-SHOWN:] - centre) @ axes for k, name in enumerate(names)}
    inliers, outliers = latent_tails(settings.inlier_space, settings.outlier_space)
    crosses = []
    for what, tail in (("latent inliers", inliers), ("latent outliers", outliers)):
        if tail is not None:
            samples, _ = draw_latent(features, settings.select, settings.sample_from, generator, tail)
            groups[what] = (samples - centre) @ axes
            crosses.append(what)
    return plots.scatter(groups, crosses, "first principal axis", "second principal axis")

"""Scores of in-distribution and outlier images under a trained classifier, and the sets to test with.

Confidence is 1 - p_n, the probability of being no outlier (paper); the shared score is p_n itself, higher = more OOD.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from ood_shared.datasets import NOISE, load, load_any_size, make_noise
from ood_shared.datasets.benchmark import NOISE_COUNTS, SPHERE_MARGIN, largest_norm
from ood_shared.datasets.own import looks_like_path
from ood_shared.devices import autocast, module_device
from ood_shared.metrics import evaluate
from ood_shared.runs import progress
from torch import Tensor

from oodgen.classifier import OutlierClassifier
from oodgen.data.folders import SIDE, as_pixels, read_outlier_folder
from oodgen.data.prepare import fit_28
from oodgen.scores import batch_averaged_auroc, confidence, ood_score

SCORE_CHUNK = 1000


@dataclass(frozen=True)
class OutlierSet:
    """Outliers to test with.

    Attributes:
        name: as given on the command line.
        images: uint8 (n, 1, 28, 28), or float32 in the scale of [0, 1] where that cannot hold them (noise, sphere).
    """

    name: str
    images: Tensor


def outlier_set(
    name: str,
    train: Tensor,
    generator: torch.Generator,
    data_dir: str | None = None,
    native: tuple[int, int] | None = None,
) -> OutlierSet:
    """The outliers of a name or path.

    Args:
        name: noise, a documented folder (`<name>/test/<class>/*.png`), or a name or path of the shared registry.
        train: in-distribution training images, uint8; the sphere lies outside the largest of them.
        generator: source of the noise.
        data_dir: where named sets are kept.
        native: when given, sets of other sizes are turned into 28 x 28 grey, by way of this size.

    Raises:
        InputError: the set is unknown or missing, or has images of another size.
    """
    if name in NOISE:
        radius = largest_norm(train) + SPHERE_MARGIN
        return OutlierSet(name, make_noise(name, NOISE_COUNTS[name], (1, SIDE, SIDE), generator, radius))
    if native is not None:
        return OutlierSet(name, fit_28(load_any_size(name, "test", data_dir, SIDE), native).images)
    if looks_like_path(name) and (Path(name) / "test").is_dir():
        return OutlierSet(name, read_outlier_folder(name).images)
    return OutlierSet(name, as_pixels(load(name, "test", data_dir)).images)


def logits_of(network: OutlierClassifier, images: Tensor, mean: float, std: float, precision: str = "fp32") -> Tensor:
    """Logits (n, n_classes + 1) of all images, float32 on the CPU; one pass in eval mode without gradients.

    Args:
        network: trained classifier.
        images: uint8, or float in the scale of [0, 1].
        mean: of the normalisation that the network was trained with.
        std: likewise.
        precision: of the forward pass.
    """
    device = module_device(network)
    network.eval()
    logits = []
    with torch.no_grad(), autocast(device, precision):
        for chunk in progress(images.split(SCORE_CHUNK), "scoring"):
            pixels = chunk.to(device)
            scale = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
            logits.append(network.logits((scale - mean) / std).float().cpu())
    return torch.cat(logits)


def auroc(id_logits: Tensor, ood_logits: Tensor, score: str, average: str, generator: torch.Generator) -> float:
    """AUROC as `--average` asks for it: of all images at once, or the mean over shuffled batches of 1000.

    Raises:
        InputError: `batches` with fewer than 1000 images.
    """
    if average == "pooled":
        return evaluate(ood_score(id_logits, score).numpy(), ood_score(ood_logits, score).numpy())["auroc"]
    probabilities = torch.softmax(torch.cat([id_logits, ood_logits]), dim=1)
    order = torch.randperm(len(probabilities), generator=generator)
    is_ood = order >= len(id_logits)
    return batch_averaged_auroc(confidence(probabilities, score)[order].numpy(), is_ood.numpy())[0]

"""From images to scores: logits, confidences, and the arrays of `scores.npz`.

Two signs meet here. `confidence` is the paper's: higher means more in-distribution. `ood_score` is the shared one:
higher means more OOD, and without the ties that 1 - p_n gets in float32 where p_n is small.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.blocks import map_rows
from ood_shared.devices import autocast, module_device
from ood_shared.errors import unknown
from ood_shared.results.record import pack_scores
from torch import Tensor

from oodgen.classifier import OutlierClassifier

SCORE_CHUNK = 1000  # images of a pass on a GPU
METHOD = "oodgen"
PAPER = "Vernekar et al., Out-of-Distribution Detection in Classifiers via Generation, arXiv 1910.04241"
KINDS = ("one_minus_ood", "max_in", "max_all")


def confidence(probabilities: Float[Tensor, "batch outputs"], kind: str = "one_minus_ood") -> Float[Tensor, " batch"]:
    """Higher = more in-distribution.

    Args:
        probabilities: softmax over n + 1 outputs, the outlier class last.
        kind: `one_minus_ood` is 1 - p_n; `max_in` the largest of p_0..p_{n-1}; `max_all` the largest of all, the
            documented program's score, which is high for an outlier recognised with certainty.

    Raises:
        InputError: the kind is not known.
    """
    if kind == "one_minus_ood":
        return 1 - probabilities[:, -1]
    return -_negative_maximum(probabilities, kind)


def ood_score(logits: Float[Tensor, "batch outputs"], kind: str = "one_minus_ood") -> Float[Tensor, " batch"]:
    """Higher = more OOD: p_n itself, or minus the largest p_k; float64, from the logits.

    Args:
        logits: scores of the n classes and, last, the outlier class.
        kind: as in `confidence`.

    Raises:
        InputError: the kind is not known.
    """
    wide = logits.cpu() if logits.device.type == "mps" else logits  # Metal has no float64
    probabilities = torch.softmax(wide.double(), dim=1)
    if kind == "one_minus_ood":
        return probabilities[:, -1]
    return _negative_maximum(probabilities, kind)


def logits_of(
    network: OutlierClassifier,
    images: Tensor,
    mean: float,
    std: float,
    precision: str = "fp32",
    batch_size: int = SCORE_CHUNK,
) -> Tensor:
    """Logits (n, n_classes + 1) of all images, float32 on the CPU; one pass in eval mode without gradients.

    On a CPU an image's logits do not depend on the images beside it (`ood_shared.blocks`).

    Args:
        network: trained classifier.
        images: uint8, or float in the scale of [0, 1].
        mean: of the normalisation that the network was trained with.
        std: likewise.
        precision: of the forward pass.
        batch_size: images of a pass on a GPU.
    """
    device = module_device(network)
    network.eval()

    def logits(pixels: Tensor) -> Tensor:
        scaled = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return network.logits((scaled - mean) / std).float()

    with torch.no_grad(), autocast(device, precision):
        return map_rows(logits, images, batch_size, device)


def score_arrays(
    id_name: str, id_logits: Tensor, id_labels: Tensor, ood_logits: Mapping[str, Tensor], score: str
) -> dict[str, np.ndarray]:
    """Arrays of `scores.npz`: ID first, then the outlier sets in order; scores float64, higher = more OOD.

    Predictions are the most probable in-distribution class.

    Args:
        id_name: name of the ID set.
        id_logits: (n, n_classes + 1).
        id_labels: int64 (n,).
        ood_logits: for each set (m, n_classes + 1).
        score: `one_minus_ood`, `max_in` or `max_all`.
    """
    outliers = {name: (ood_score(logits, score), predicted_classes(logits)) for name, logits in ood_logits.items()}
    return pack_scores(id_name, (ood_score(id_logits, score), id_labels, predicted_classes(id_logits)), outliers)


def predicted_classes(logits: Float[Tensor, "n outputs"]) -> Int64[Tensor, " n"]:
    """The most probable in-distribution class."""
    return logits[:, :-1].argmax(dim=1)


def _negative_maximum(probabilities: Tensor, kind: str) -> Tensor:
    if kind not in KINDS:
        raise unknown("--score", kind, KINDS)
    return -(probabilities[:, :-1] if kind == "max_in" else probabilities).amax(dim=1)

"""`scores.npz` in the shared convention, from the logits of one pass."""

from collections.abc import Mapping

import numpy as np
from ood_shared.results.record import pack_scores
from torch import Tensor

from oodgen.scores import ood_score

METHOD = "oodgen"
PAPER = "Vernekar et al., Out-of-Distribution Detection in Classifiers via Generation, arXiv 1910.04241"


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
    outliers = {name: (ood_score(logits, score), _predicted(logits)) for name, logits in ood_logits.items()}
    return pack_scores(id_name, (ood_score(id_logits, score), id_labels, _predicted(id_logits)), outliers)


def _predicted(logits: Tensor) -> Tensor:
    return logits[:, :-1].argmax(dim=1)

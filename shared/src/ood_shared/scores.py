"""Scores from the logits of a classifier; higher means more OOD.

    msp       -max_k p_k                            Hendrycks, Gimpel, ICLR 2017
    max_logit -max_k z_k                            Hendrycks et al., ICML 2022
    energy    -T log sum_k exp(z_k / T)             Liu et al., NeurIPS 2020, eq. 4
    entropy   -sum_k p_k log p_k, in nats

All are computed in float32 or wider, also inside autocast.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ood_shared.errors import InputError


def msp(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """Minus the largest softmax probability, in [-1, -1/classes].

    Confident inputs tie where 1 - p falls below the resolution of the dtype; pass float64 logits to tell them apart.
    """
    return -torch.softmax(_wide(logits), dim=-1).amax(dim=-1)


def max_logit(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """Minus the largest logit."""
    return -_wide(logits).amax(dim=-1)


def energy(logits: Float[Tensor, "*batch classes"], temperature: float = 1.0) -> Float[Tensor, "*batch"]:
    """Free energy of each row; its negative is the confidence of energy-based detectors.

    Args:
        logits: unnormalised class scores.
        temperature: positive and finite; 1 gives minus the logarithm of the softmax denominator.

    Raises:
        InputError: the temperature is not positive and finite.
    """
    if not 0 < temperature < float("inf"):
        raise InputError(f"The temperature is {temperature}; expected a positive, finite number.")
    return -temperature * torch.logsumexp(_wide(logits) / temperature, dim=-1)


def entropy(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """Entropy of the softmax in nats, in [0, log classes]."""
    probabilities = torch.softmax(_wide(logits), dim=-1)
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))

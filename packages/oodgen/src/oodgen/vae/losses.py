"""What a conditional VAE is trained on: the evidence lower bound, or the squared error of the documented program."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def elbo_loss(
    recon: Float[Tensor, "batch ..."],
    x01: Float[Tensor, "batch ..."],
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
) -> Float[Tensor, ""]:
    """Negative evidence lower bound in nats per image: (sum BCE + KL) / batch.

    KL = 0.5 sum(mu^2 + exp(logvar) - logvar - 1). Each logarithm of the cross-entropy is clamped at -100, so saturated
    pixels give finite values and gradients. A NaN in `recon` makes the loss NaN. Computed in float32 or wider.

    Args:
        recon: probabilities in [0,1].
        x01: target pixels in [0,1].
        mu: means of the codes.
        logvar: log-variances of the codes.
    """
    with torch.autocast(recon.device.type, enabled=False):
        recon, x01, mu, logvar = (_wide(t) for t in (recon, x01, mu, logvar))
        # binary_cross_entropy aborts on NaN (on a GPU with the whole process); the added zero carries it to the loss
        bce = F.binary_cross_entropy(recon.nan_to_num(0.5), x01, reduction="sum") + 0.0 * recon.sum()
        kld = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum()
        return (bce + kld) / len(recon)


def mse_loss(recon: Float[Tensor, "batch ..."], target: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean squared error over all elements, in float32 or wider. The documented program's target is normalised."""
    with torch.autocast(recon.device.type, enabled=False):
        return F.mse_loss(_wide(recon), _wide(target))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

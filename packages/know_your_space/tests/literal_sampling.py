"""The original's way to latent inliers: draw everything, evaluate every density, keep the least likely."""

import torch
from torch import Tensor


def literal_latent_samples(
    queue: Tensor, select: int, sample_from: int, generator: torch.Generator, largest: bool = False
) -> Tensor:
    """(classes * select, dim) rows of lowest log-density, or highest, as the specification words it."""
    classes, length, dim = queue.shape
    means = torch.stack([queue[k].mean(dim=0) for k in range(classes)])
    centred = torch.cat([queue[k] - means[k] for k in range(classes)])
    covariance = centred.T @ centred / (classes * length) + 0.001 * torch.eye(dim)
    kept = []
    for k in range(classes):
        gaussian = torch.distributions.MultivariateNormal(means[k], covariance)
        z = means[k] + torch.randn(sample_from, dim, generator=generator) @ gaussian.scale_tril.T
        kept.append(z[gaussian.log_prob(z).topk(select, largest=largest).indices])
    return torch.cat(kept)

"""ODIN and i-ODIN: the confidence after a small step of the input.

ODIN (Liang, Li, Srikant, ICLR 2018): g = d CE(z / T, argmax z) / d x; x' = x - eps s with s = +1 where g >= 0, else -1,
divided channel by channel by the standard deviation of the data set; confidence max softmax(z(x') / T). i-ODIN
(arXiv 2411.10794, section 3.5) keeps s only at the input value of the largest |g|.

The gradient does not depend on eps: a search over m values of eps costs one backward pass and m forward passes for each
T, not m of both.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ascood.attribution import frozen
from ascood.scores.base import Confidences, Score


class ODIN(Score):
    """Every input value steps."""

    name, order = "odin", ("temperature", "noise")
    single_value = False

    def score_images(
        self, network: nn.Module, images: Tensor, std: Sequence[float], noises: Sequence[float] | None = None
    ) -> list[Confidences]:
        """Confidence and class of the perturbed images, for each noise; by default the one of `args`.

        Args:
            network: in evaluation mode.
            images: normalised, (batch, channels, height, width).
            std: of the channels, as the images were normalised.
            noises: magnitudes eps, in units of the [0, 1] pixel scale.
        """
        temperature = self.value("temperature")
        noises = [self.value("noise", 0.0, open_below=False)] if noises is None else noises
        step = input_step(network, images, temperature, std, self.single_value)
        confidences = []
        with torch.no_grad():
            for noise in noises:
                logits = network(images - noise * step)
                confidence, predicted = (logits / temperature).softmax(1).max(1)
                confidences.append((confidence, predicted))
        return confidences


class IODIN(ODIN):
    """Only the input value with the largest absolute gradient steps."""

    name, single_value = "iodin", True


def input_gradient(
    network: nn.Module, images: Float[Tensor, "batch channels height width"], temperature: float
) -> Float[Tensor, "batch channels height width"]:
    """Gradient of the mean cross-entropy of z / T to the predicted classes, with respect to the images."""
    inputs = images.detach().clone().requires_grad_(True)
    with frozen(network), torch.enable_grad():
        logits = network(inputs)
        loss = F.cross_entropy(logits / temperature, logits.detach().argmax(1))
        (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient


def input_step(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    temperature: float,
    std: Sequence[float],
    single_value: bool,
) -> Float[Tensor, "batch channels height width"]:
    """The direction of the step for eps = 1: signs over standard deviations, 0 elsewhere for i-ODIN.

    A gradient of 0 counts as positive, as in the original.
    """
    gradient = input_gradient(network, images, temperature)
    sign = torch.where(gradient >= 0, 1.0, -1.0).to(images.dtype)
    if single_value:
        largest = gradient.flatten(1).abs().argmax(1, keepdim=True)
        sign = torch.zeros_like(sign).flatten(1).scatter(1, largest, sign.flatten(1).gather(1, largest)).view_as(sign)
    return sign / torch.tensor(std, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)

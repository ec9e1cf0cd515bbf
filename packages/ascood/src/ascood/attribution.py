"""Gradient attribution: how much each input value raises the logit of the true class.

arXiv 2411.10794, section 3.1: G = d z_y / d x, with the network in evaluation mode. Only the gradient with respect to
the input is computed; the original also filled every parameter's gradient and threw it away, at about a third of the
cost. The result is the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside the block no parameter asks for a gradient, so that a backward pass stops at the input."""
    asking = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Inside the block the network is in training or evaluation mode."""
    before = network.training
    network.train(training)
    try:
        yield
    finally:
        network.train(before)


def saliency(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    labels: Int64[Tensor, " batch"],
    training_mode: bool = False,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Gradient of the summed true-class logits with respect to the images.

    Args:
        network: gives logits (batch, classes); its parameters, statistics and mode are as before afterwards.
        images: normalised images; they are not changed.
        labels: the true classes.
        training_mode: attribute with batch statistics. The authors name it as usable; the running statistics then count
            this pass as well.
        forward: the network in another form, such as its compiled one; the network itself when None.
    """
    inputs = images.detach().clone().requires_grad_(True)
    with mode(network, training_mode), frozen(network), torch.enable_grad():
        logits = (forward or network)(inputs)
        chosen = logits.gather(1, labels[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, inputs)
    return gradient.to(images.dtype)

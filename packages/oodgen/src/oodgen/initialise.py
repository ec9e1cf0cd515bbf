"""Initial weights that differ from PyTorch's own."""

from torch import nn


def keras_init(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, Keras' defaults, in place; drawn from torch's global generator."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)

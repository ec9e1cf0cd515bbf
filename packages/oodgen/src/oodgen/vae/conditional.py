"""What both architectures of the conditional VAE share: the encoder, the code, and the decoder with its derivatives."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from ood_shared.devices import send
from ood_shared.errors import InputError
from torch import Tensor, nn

SIDE = 28  # height and width of the images, pixels
PIXELS = SIDE * SIDE


class Affine(NamedTuple):
    """One step of a decoder: `apply` is linear, `bias` broadcasts over what it returns."""

    apply: Callable[[Tensor], Tensor]
    bias: Tensor


class ConditionalVAE(nn.Module, ABC):
    """What both architectures share: everything but the layers and their padding."""

    def __init__(self, n_classes: int = 10, latent_dim: int = 8) -> None:
        super().__init__()
        if n_classes < 1 or latent_dim < 1:
            raise InputError(f"n_classes and latent_dim must be at least 1, got {n_classes} and {latent_dim}.")
        self.n_classes = n_classes
        self.latent_dim = latent_dim
        self.conv1 = nn.Conv2d(1, 32, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.fc11 = nn.Linear(64 * 7 * 7 + n_classes, 16)
        self.fc12 = nn.Linear(16, latent_dim)
        self.fc13 = nn.Linear(16, latent_dim)

    def convolve(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 64 7 7"]:
        """The convolutional half of the encoder."""
        return F.relu(self.conv2(F.relu(self.conv1(x))))

    @abstractmethod
    def decoder_steps(self) -> list[Affine]:
        """The affine steps of the decoder, from (z, c) to the pixels before the sigmoid."""

    def encode(
        self, x: Float[Tensor, "batch 1 28 28"], y: Float[Tensor, "batch classes"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and log-variance of the code.

        Args:
            x: images on the scale that this network was trained on ([0,1] or normalised).
            y: one-hot classes (`one_hot`).

        Raises:
            InputError: the images are not 28 x 28 with one channel, or `y` has another number of columns.
        """
        if x.shape[1:] != (1, SIDE, SIDE):
            raise InputError(f"The VAE takes images of shape (1, {SIDE}, {SIDE}), got {tuple(x.shape[1:])}.")
        self._check_condition(y)
        hidden = F.relu(self.fc11(torch.cat([self.convolve(x).flatten(1), y], dim=1)))
        return self.fc12(hidden), self.fc13(hidden)

    def sample(
        self,
        mu: Float[Tensor, "batch latent"],
        logvar: Float[Tensor, "batch latent"],
        eps: Float[Tensor, "batch latent"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """The code mu + eps * exp(logvar / 2), in training and in evaluation alike.

        Args:
            mu: mean of the code.
            logvar: log-variance of the code.
            eps: standard normal noise; drawn when None.
            generator: CPU generator that `eps` is drawn from, whatever the device, so that runs on different devices
                see the same noise. None means torch's global one.
        """
        if eps is None:
            eps = latent_noise(mu, generator)
        return mu + eps * torch.exp(logvar / 2)

    def encoder(
        self,
        x: Float[Tensor, "batch 1 28 28"],
        y: Float[Tensor, "batch classes"],
        eps: Float[Tensor, "batch latent"] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Code, mean and log-variance, in this order (that of the documented program); arguments as in `sample`."""
        mu, logvar = self.encode(x, y)
        return self.sample(mu, logvar, eps, generator), mu, logvar

    def decoder(
        self, z: Float[Tensor, "batch latent"], y: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch 1 28 28"]:
        """Images in (0,1) of the codes `z` of classes `y`."""
        self._check_condition(y)
        *hidden, last = self.decoder_steps()
        x = torch.cat([z, y], dim=1)
        for step in hidden:
            x = F.relu(step.apply(x) + step.bias)
        return torch.sigmoid(last.apply(x) + last.bias)

    def decoder_with_tangents(
        self, z: Float[Tensor, "batch latent"], y: Float[Tensor, "batch classes"]
    ) -> tuple[Float[Tensor, "batch 1 28 28"], Float[Tensor, "batch latent pixels"]]:
        """Images, and their derivatives along each component of `z` with the class held fixed.

        One batch of 1 + d images per code: the image itself in front, the tangents behind. A ReLU passes a tangent
        where its image is positive, the sigmoid multiplies it by s (1 - s).

        Returns:
            images (batch, 1, 28, 28), tangents (batch, d, 784): row k of sample i is d g(z_i, c_i) / d z_ik.
        """
        self._check_condition(y)
        *hidden, last = self.decoder_steps()
        directions = torch.eye(self.latent_dim, z.shape[1] + y.shape[1], dtype=z.dtype, device=z.device)
        x = torch.cat([torch.cat([z, y], dim=1).unsqueeze(1), directions.expand(len(z), -1, -1)], dim=1)
        for step in hidden:
            x = _apply_to_stack(step, x)
            x = x.mul_(x[:, :1] > 0)
        x = _apply_to_stack(last, x)  # (batch, 1 + d, 1, 28, 28)
        image = torch.sigmoid(x[:, 0])
        return image, (x[:, 1:] * (image * (1 - image)).unsqueeze(1)).flatten(2)

    def forward(
        self,
        x: Float[Tensor, "batch 1 28 28"],
        y: Float[Tensor, "batch classes"],
        eps: Float[Tensor, "batch latent"] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[
        Float[Tensor, "batch 1 28 28"],
        Float[Tensor, "batch latent"],
        Float[Tensor, "batch latent"],
        Float[Tensor, "batch latent"],
    ]:
        """Reconstruction, mean, log-variance and code; arguments as in `encode` and `sample`."""
        z, mu, logvar = self.encoder(x, y, eps, generator)
        return self.decoder(z, y), mu, logvar, z

    def _check_condition(self, y: Tensor) -> None:
        if y.shape[1:] != (self.n_classes,):
            raise InputError(f"The VAE has {self.n_classes} classes, the one-hot labels {tuple(y.shape[1:])} columns.")


def one_hot(labels: Integer[Tensor, " batch"], n_classes: int) -> Float[Tensor, "batch classes"]:
    """Labels as float32 rows with one 1; always `n_classes` columns, whichever labels occur.

    Looks at the values to check them, which waits for the device: encode a whole set once and index the result.

    Raises:
        InputError: a label is below 0 or not below `n_classes`, or no integer.
    """
    if labels.is_floating_point():
        raise InputError(f"Labels must be integers, got {labels.dtype}.")
    bad = (labels < 0) | (labels >= n_classes)
    if bad.any():
        position = int(bad.nonzero()[0])
        raise InputError(f"Label {int(labels[position])} at position {position} is not one of 0..{n_classes - 1}.")
    return F.one_hot(labels.long(), n_classes).float()


def latent_noise(like: Float[Tensor, "batch latent"], generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of the shape of `like`, drawn on the CPU and moved to its device."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return send(torch.randn(like.shape, generator=generator, dtype=dtype), like.device)


def _apply_to_stack(step: Affine, x: Tensor) -> Tensor:
    """The step on (batch, 1 + d, ...): linear on all, the bias on the images in front only."""
    x = step.apply(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    x[:, 0] += step.bias
    return x

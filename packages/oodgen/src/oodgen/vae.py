"""Conditional VAEs whose decoder g(z, c) models the data as a d-dimensional manifold in pixel space.

    mu, log s^2 = encoder(x, c),   z = mu + s * eps,   image = g(z, c),   c = one-hot class

`VAE` has the layers and state-dict keys of the documented program, `PaperVAE` the layers of the authors' notebooks
(arXiv 1910.04241). A decoder is a list of affine steps with ReLU between them and a sigmoid at the end, which gives two
readings of the same list: the image alone, and the image together with its d derivatives along the code
(`decoder_with_tangents`), the latter by pushing d tangent images through the same steps without their biases.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from ood_shared.devices import send
from ood_shared.errors import InputError, unknown
from torch import Tensor, nn

from oodgen.initialise import keras_init

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


class VAE(ConditionalVAE):
    """The documented network: 146,289 parameters for 10 classes and 8 latent dimensions.

    The last transposed convolution enlarges 28 x 28 to 56 x 56 and keeps the central 28 x 28. Only rows and columns
    7..21 of its input, 3..11 of the one before and 1..6 of the 7 x 7 grid reach the image; the decoder computes only
    these, to the same values.
    """

    def __init__(self, n_classes: int = 10, latent_dim: int = 8) -> None:
        super().__init__(n_classes, latent_dim)
        self.fc21 = nn.Linear(latent_dim + n_classes, 16)
        self.fc22 = nn.Linear(16, 64 * 7 * 7)
        self.conv3 = nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1)
        self.conv4 = nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1)
        self.conv5 = nn.ConvTranspose2d(16, 1, 3, stride=2, padding=15, output_padding=1)

    def decoder_steps(self) -> list[Affine]:
        """fc21, fc22 and three transposed convolutions, cropped to what reaches the image."""
        # Rows of fc22 that matter, channels last: (6, 6, 64, 16). A ConvTranspose2d of stride 2 and padding p computes
        # out[2 i - p + k] from in[i]; with input and output cropped as above, padding 2 gives 6 -> 9 -> 15 exactly,
        # and padding 1 gives 29, one more than needed.
        weight = self.fc22.weight.unflatten(0, (64, 7, 7))[:, 1:, 1:].permute(1, 2, 0, 3).flatten(0, 2)
        bias = self.fc22.bias.unflatten(0, (64, 7, 7))[:, 1:, 1:].permute(1, 2, 0).flatten()
        return [
            Affine(lambda x: F.linear(x, self.fc21.weight), self.fc21.bias),
            Affine(lambda x: _grid(F.linear(x, weight), 6), _grid(bias[None], 6)[0]),
            Affine(lambda x: F.conv_transpose2d(x, self.conv3.weight, stride=2, padding=2), _channels(self.conv3)),
            Affine(lambda x: F.conv_transpose2d(x, self.conv4.weight, stride=2, padding=2), _channels(self.conv4)),
            Affine(
                lambda x: F.conv_transpose2d(x, self.conv5.weight, stride=2, padding=1)[..., :SIDE, :SIDE],
                _channels(self.conv5),
            ),
        ]


class PaperVAE(ConditionalVAE):
    """The network of the authors' notebooks: 69,440 + 115,265 parameters for 10 classes and 8 latent dimensions.

    Keras pads "same" convolutions of stride 2 at the bottom and right only. Grids are flattened channels first here and
    channels last there, which permutes weights and nothing else.
    """

    def __init__(self, n_classes: int = 10, latent_dim: int = 8) -> None:
        super().__init__(n_classes, latent_dim)
        self.fc2 = nn.Linear(latent_dim + n_classes, 64 * 7 * 7)
        self.conv3 = nn.ConvTranspose2d(64, 64, 3, stride=2)
        self.conv4 = nn.ConvTranspose2d(64, 32, 3, stride=2)
        self.conv5 = nn.ConvTranspose2d(32, 1, 3, padding=1)
        keras_init(self)

    def convolve(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 64 7 7"]:
        """The convolutional half of the encoder, padded as Keras does."""
        for layer in (self.conv1, self.conv2):
            x = F.relu(F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.weight, layer.bias, stride=2))
        return x

    def sample(
        self,
        mu: Float[Tensor, "batch latent"],
        logvar: Float[Tensor, "batch latent"],
        eps: Float[Tensor, "batch latent"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """The mean: the authors' sampling layer adds no noise, although their loss has the KL term."""
        return mu

    def decoder_steps(self) -> list[Affine]:
        """fc2 and three transposed convolutions; the last row and column of the enlarging ones are dropped ("same")."""
        weight = self.fc2.weight.unflatten(0, (64, 7, 7)).permute(1, 2, 0, 3).flatten(0, 2)
        bias = self.fc2.bias.unflatten(0, (64, 7, 7)).permute(1, 2, 0).flatten()
        return [
            Affine(lambda x: _grid(F.linear(x, weight), 7), _grid(bias[None], 7)[0]),
            Affine(lambda x: F.conv_transpose2d(x, self.conv3.weight, stride=2)[..., :14, :14], _channels(self.conv3)),
            Affine(lambda x: F.conv_transpose2d(x, self.conv4.weight, stride=2)[..., :28, :28], _channels(self.conv4)),
            Affine(lambda x: F.conv_transpose2d(x, self.conv5.weight, padding=1), _channels(self.conv5)),
        ]


def build_vae(architecture: str, n_classes: int = 10, latent_dim: int = 8) -> ConditionalVAE:
    """A new network: `doc` is `VAE`, `paper` is `PaperVAE`.

    Raises:
        InputError: the architecture is not known.
    """
    kinds = {"doc": VAE, "paper": PaperVAE}
    if architecture not in kinds:
        raise unknown("VAE architecture", architecture, kinds)
    return kinds[architecture](n_classes, latent_dim)


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


def _grid(flat: Tensor, side: int) -> Tensor:
    """Rows of side * side * channels values as (batch, channels, side, side) in the layout that convolutions like."""
    grid = flat.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
    return grid if grid.device.type == "cpu" else grid.contiguous()  # channels last halves the time on CPUs only


def _channels(layer: nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias[:, None, None]


def _apply_to_stack(step: Affine, x: Tensor) -> Tensor:
    """The step on (batch, 1 + d, ...): linear on all, the bias on the images in front only."""
    x = step.apply(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    x[:, 0] += step.bias
    return x

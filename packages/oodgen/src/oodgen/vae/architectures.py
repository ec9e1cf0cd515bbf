"""The layers of the two conditional VAEs: those of the documented program, and those of the authors' notebooks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.errors import unknown
from torch import Tensor, nn

from oodgen.initialise import keras_init
from oodgen.vae.conditional import SIDE, Affine, ConditionalVAE


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


def _grid(flat: Tensor, side: int) -> Tensor:
    """Rows of side * side * channels values as (batch, channels, side, side) in the layout that convolutions like."""
    grid = flat.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
    return grid if grid.device.type == "cpu" else grid.contiguous()  # channels last halves the time on CPUs only


def _channels(layer: nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias[:, None, None]

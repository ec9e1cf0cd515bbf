"""The decoder's reconstructions of the training images, shown to the classifier as in-distribution (`--id_recon`).

    r = g(mu(x, c), c),   labelled c

Ours, not the paper's. Outliers of type 2 come out of the decoder, and a decoder that was trained briefly draws smoother
than real images are: the classifier may learn smoothness as the mark of an outlier, and then finds images that are
sharper than the data more in-distribution than the data. Reconstructions, equally smooth and equally far on the
manifold as the data, leave it the place on the manifold to go by.
"""

import zlib

import torch

from oodgen.data.folders import Pixels
from oodgen.data.png import to_uint8
from oodgen.manifold import exact_inference
from oodgen.outliers import ENCODE_CHUNK, GenerationSettings, encode_all
from oodgen.vae import ConditionalVAE, one_hot


def reconstructions(vae: ConditionalVAE, pixels: Pixels, encoder_scale: tuple[float, float] = (0.0, 1.0)) -> Pixels:
    """One image per image, decoded from its posterior mean, with its label; quantised as image files are.

    Args:
        vae: trained network, on the device to work on.
        pixels: images with labels (n, 1, 28, 28).
        encoder_scale: mean and standard deviation of the encoder's input.
    """
    like = next(vae.parameters())
    codes = encode_all(vae, pixels, GenerationSettings(encoder_scale=encoder_scale), torch.Generator())
    condition = one_hot(pixels.labels, vae.n_classes)
    with exact_inference(vae):
        images = [
            to_uint8(vae.decoder(z.to(like), y.to(like)).cpu())
            for z, y in zip(codes.split(ENCODE_CHUNK), condition.split(ENCODE_CHUNK), strict=True)
        ]
    return Pixels(torch.cat(images), pixels.labels, pixels.classes)


def with_reconstructions(
    vae: ConditionalVAE, pixels: Pixels, encoder_scale: tuple[float, float] = (0.0, 1.0)
) -> Pixels:
    """The images, then their reconstructions: twice as many."""
    made = reconstructions(vae, pixels, encoder_scale)
    return Pixels(torch.cat([pixels.images, made.images]), torch.cat([pixels.labels, made.labels]), pixels.classes)


def vae_crc32(vae: ConditionalVAE, start: int = 0) -> int:
    """A fingerprint of the weights: what is made with them may differ in rounding from run to run, they do not."""
    for tensor in vae.state_dict().values():
        start = zlib.crc32(tensor.cpu().numpy().tobytes(), start)
    return start

"""Conditional VAEs whose decoder g(z, c) models the data as a d-dimensional manifold in pixel space.

    mu, log s^2 = encoder(x, c),   z = mu + s * eps,   image = g(z, c),   c = one-hot class

`VAE` has the layers and state-dict keys of the documented program, `PaperVAE` the layers of the authors' notebooks
(arXiv 1910.04241). A decoder is a list of affine steps with ReLU between them and a sigmoid at the end, which gives two
readings of the same list: the image alone, and the image together with its d derivatives along the code
(`decoder_with_tangents`), the latter by pushing d tangent images through the same steps without their biases.

Module by module: `conditional` has all of that but the layers, `architectures` the layers, `losses` what is minimised.
"""

from oodgen.vae.architectures import VAE, PaperVAE, build_vae
from oodgen.vae.conditional import PIXELS, SIDE, ConditionalVAE, latent_noise, one_hot
from oodgen.vae.losses import elbo_loss, mse_loss

__all__ = [
    "PIXELS",
    "SIDE",
    "VAE",
    "ConditionalVAE",
    "PaperVAE",
    "build_vae",
    "elbo_loss",
    "latent_noise",
    "mse_loss",
    "one_hot",
]

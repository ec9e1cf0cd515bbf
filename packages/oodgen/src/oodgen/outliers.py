"""Step 2 in memory: which images become outliers of which type, and how many.

Type 1 leaves the data manifold from an image; type 2 lies on the manifold, in the shell around its class. The modules
`off_manifold` and `on_manifold` make them; here the settings of a mode become calls.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from ood_shared.errors import InputError
from ood_shared.loaders import to_float
from torch import Tensor

from oodgen.data.folders import Pixels
from oodgen.data.png import to_uint8
from oodgen.manifold import exact_inference
from oodgen.off_manifold import make_off_manifold
from oodgen.on_manifold import fit_class_shells, make_on_manifold
from oodgen.vae import ConditionalVAE, one_hot

ENCODE_CHUNK = 1000

Notify = Callable[[int, int, int], object]


@dataclass(frozen=True)
class GenerationSettings:
    """How outliers are made; the names are those of the flags."""

    latent: str = "mu"
    null_space: str = "jacobian"
    direction: str = "normal"
    sign: str = "binary"
    eps_min: float = 0.1
    eps_max: float = 28.0
    base: str = "data"
    class_stats: str = "split"
    maha_factor: str = "rank"
    chunk: int = 1000  # images per chunk of the class statistics
    encoder_scale: tuple[float, float] = (0.0, 1.0)  # mean and standard deviation of the encoder's input
    per_type: float | None = None  # number per type, below 1 a fraction of the images; None: one per image
    mixture: bool = False  # the authors' test set: half of each type, drawn with replacement, classes at random


@dataclass(frozen=True)
class Outliers:
    """Generated images with where they came from.

    Attributes:
        images: uint8 (n, 1, 28, 28).
        types: int64 (n,), 1 off the manifold, 2 on it.
        sources: int64 (n,), index of the image that it was made from; for type 2 of the sample's class and turn.
    """

    images: Tensor
    types: Tensor
    sources: Tensor

    def names(self) -> list[str]:
        """File names `<source>_<type>.png`, with the turn between them where a source occurs more than once."""
        seen: dict[tuple[int, int], int] = {}
        names = []
        for pair in zip(self.sources.tolist(), self.types.tolist(), strict=True):
            turn = seen[pair] = seen.get(pair, -1) + 1
            names.append(f"{pair[0]:06d}{f'_{turn}' if turn else ''}_{pair[1]}.png")
        return names

    def of_type(self, which: int) -> Tensor:
        """Images of one type."""
        return self.images[self.types == which]


def make_outliers(
    vae: ConditionalVAE,
    pixels: Pixels,
    train: Pixels,
    settings: GenerationSettings,
    generator: torch.Generator,
    notify: Notify | None = None,
) -> Outliers:
    """Both types of outliers for one split, quantised as the files hold them.

    Args:
        vae: trained network, on the device to work on.
        pixels: the split to start from.
        train: the training split, which `class_stats="train"` takes the class shells from.
        settings: see the flags of gen_ood.py.
        generator: source of every draw, on the CPU.
        notify: called now and then with the type, the number of finished outliers of it, and their total.

    Raises:
        InputError: more outliers per type than images are asked for, or a class has too few images for a covariance.
    """
    first = _chosen(len(pixels), settings, generator)
    second = _chosen(len(pixels), settings, generator)
    off = off_manifold_of(vae, pixels.select(first), settings, generator, notify)
    if settings.mixture:
        labels = torch.randint(len(pixels.classes), (len(second),), generator=generator)
        source = torch.arange(len(second))
    else:
        labels, source = pixels.labels[second], second
    fitted_to = train if settings.class_stats == "train" else pixels
    on = on_manifold_of(vae, labels, fitted_to, settings, generator, source, notify)
    return Outliers(
        torch.cat([to_uint8(off), to_uint8(on)]),
        torch.cat([torch.full((len(off),), 1), torch.full((len(on),), 2)]),
        torch.cat([first, source]),
    )


def off_manifold_of(
    vae: ConditionalVAE,
    pixels: Pixels,
    settings: GenerationSettings,
    generator: torch.Generator,
    notify: Notify | None = None,
) -> Tensor:
    """One outlier of type 1 per image: float32 (n, 1, 28, 28) in [0, 1], on the CPU."""
    return make_off_manifold(
        vae,
        to_float(pixels.images),
        to_float(pixels.images, *settings.encoder_scale),
        pixels.labels,
        latent=settings.latent,
        null_space=settings.null_space,
        direction=settings.direction,
        sign=settings.sign,
        eps_min=settings.eps_min,
        eps_max=settings.eps_max,
        base=settings.base,
        generator=generator,
        after_chunk=_about(notify, 1, len(pixels)),
    ).cpu()


def on_manifold_of(
    vae: ConditionalVAE,
    labels: Tensor,
    fitted_to: Pixels,
    settings: GenerationSettings,
    generator: torch.Generator,
    source: Tensor,
    notify: Notify | None = None,
) -> Tensor:
    """One outlier of type 2 per label: float32 (n, 1, 28, 28) in [0, 1], on the CPU.

    Args:
        vae: trained network.
        labels: class of each outlier (n,).
        fitted_to: images that the class shells are fitted to.
        settings: `class_stats="chunk"` fits shells to each shuffled chunk of `fitted_to` instead, and makes one outlier
            for each image of the chunk, as the published code does.
        generator: source of every draw.
        source: for chunks, the index into `fitted_to` of each outlier's image (n,).
    """
    n_classes = len(fitted_to.classes)
    codes = encode_all(vae, fitted_to, settings, generator)
    if settings.class_stats != "chunk":
        shells = fit_class_shells(codes, fitted_to.labels, n_classes, settings.maha_factor)
        return make_on_manifold(vae, shells, labels, generator, after_chunk=_about(notify, 2, len(labels))).cpu()
    images = torch.empty(len(labels), 1, *fitted_to.images.shape[2:])
    order = torch.randperm(len(source), generator=generator)
    for number, chunk in enumerate(order.split(settings.chunk)):
        rows = source[chunk]
        try:
            shells = fit_class_shells(codes[rows], fitted_to.labels[rows], n_classes, settings.maha_factor)
        except InputError as error:
            raise InputError(
                f"{error} In chunks of {settings.chunk}: raise --batch_size or pass --class_stats split."
            ) from None
        images[chunk] = make_on_manifold(vae, shells, labels[chunk], generator).cpu()
        if notify is not None:
            notify(2, number * settings.chunk + len(chunk), len(source))
    return images


def encode_all(vae: ConditionalVAE, pixels: Pixels, settings: GenerationSettings, generator: torch.Generator) -> Tensor:
    """Latent codes (n, d) of all images, on the CPU: posterior means, or samples with `latent="sample"`."""
    device = next(vae.parameters()).device
    condition = one_hot(pixels.labels, vae.n_classes)
    codes = []
    with exact_inference(vae):
        for images, y in zip(pixels.images.split(ENCODE_CHUNK), condition.split(ENCODE_CHUNK), strict=True):
            z, mu, _ = vae.encoder(
                to_float(images, *settings.encoder_scale).to(device), y.to(device), generator=generator
            )
            codes.append((mu if settings.latent == "mu" else z).cpu())
    return torch.cat(codes)


def _about(notify: Notify | None, which: int, total: int) -> Callable[[int], object] | None:
    return None if notify is None else lambda done: notify(which, done, total)


def _chosen(n: int, settings: GenerationSettings, generator: torch.Generator) -> Tensor:
    """Indices of the images that outliers of one type are made from."""
    if settings.mixture:
        count = n // 2 if settings.per_type is None else _count(n, settings.per_type)
        return torch.randint(n, (count,), generator=generator)
    if settings.per_type is None:
        return torch.arange(n)
    count = _count(n, settings.per_type)
    if count > n:
        raise InputError(
            f"--num_ood {settings.per_type:g}: there are {n} images; at most one outlier per image and type."
        )
    return torch.randperm(n, generator=generator)[:count].sort().values


def _count(n: int, per_type: float) -> int:
    return max(1, round(n * per_type)) if per_type < 1 else round(per_type)

"""Sizes, normalisation and training transforms, by the name of the data set (OpenOOD's tables).

Every chain starts from RGB. What is the same for every epoch (resize, centre crop) is done once and kept as uint8; what
is random is drawn for each image and epoch.

=========  =========================================================================================================
kind       training chain
=========  =========================================================================================================
classic    Resize(pre_size) - CenterCrop(image_size) - flip 0.5 - RandomCrop(image_size, zero padding 4)
resized    RandomResizedCrop(image_size, scale 0.08-1, ratio 3/4-4/3) - flip 0.5
jittered   Resize(pre_size) - RandomCrop(image_size) - flip 0.5 - ColorJitter(brightness 32/255, saturation 0.5)
test       Resize(pre_size) - CenterCrop(image_size); for every split that is not `train`
common     Resize(pre_size) - CenterCrop(image_size) - RandomCrop(image_size, zero padding 2), as all of `ood-bench`
mirrored   the same, and flip 0.5: for photographs
raw        nothing, for images that are stored as the network sees them (imagenet_c)
=========  =========================================================================================================
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from ood_shared import augment
from ood_shared.errors import InputError, unknown
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

PADDING = 4  # pixels, of the classic chain
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    **dict.fromkeys(("imagenet", "imagenet100", "imagenet200", "aircraft", "cars", "waterbirds", "celeba"), _IMAGENET),
    "covid": ((0.4907,) * 3, (0.2697,) * 3),
    **dict.fromkeys(("cub", "unknown"), _HALF),
}
RESIZED_SETS = ("imagenet", "imagenet100", "imagenet200", "waterbirds", "celeba", "cars", "aircraft")  # of ascood
KINDS = ("classic", "resized", "jittered", "common", "mirrored", "test", "raw")
IN_COMMON = ("common", "mirrored")  # kinds, and preprocessors of these names
INTERPOLATIONS = ("bilinear", "nearest", "bicubic")
PREPROCESSORS = ("ascood", "base", *IN_COMMON, "test")


@dataclass(frozen=True)
class Chain:
    """How images become what the network sees.

    Attributes:
        kind: see the head of this module.
        pre_size: length of the shorter side after the first resize, pixels.
        image_size: side of the result, pixels.
        mean: of the channels, in the [0, 1] scale.
        std: of the channels.
        interpolation: `bilinear`, `nearest` or `bicubic`.
    """

    kind: str
    pre_size: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("Interpolation", self.interpolation, INTERPOLATIONS)
        if not 1 <= self.image_size <= self.pre_size:
            raise InputError(
                f"image_size {self.image_size} does not fit pre_size {self.pre_size}; "
                "expected 1 <= image_size <= pre_size."
            )

    @property
    def fixed(self) -> bool:
        """Whether the images before the random part are the same in every epoch, and can be kept as uint8."""
        return self.kind in ("classic", *IN_COMMON, "test")

    def with_kind(self, kind: str) -> "Chain":
        """The same sizes and normalisation with another chain."""
        return replace(self, kind=kind)

    def settings(self) -> dict[str, Any]:
        """All of it as JSON values, for fingerprints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def base_name(dataset: str) -> str:
    """The data set whose preprocessing a name takes: without `_oe`, and `waterbird` as `waterbirds`."""
    name = dataset.removesuffix("_oe")
    return "waterbirds" if name == "waterbird" else name


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels by `normalization_type`; an unknown name has 0.5, as OpenOOD's."""
    return NORMALISATION.get(base_name(name), _HALF)


def train_kind(dataset: str, preprocessor: str) -> str:
    """The training chain that a preprocessor uses for a data set.

    Raises:
        InputError: the preprocessor is not known.
    """
    if preprocessor not in PREPROCESSORS:
        raise unknown("preprocessor.name", preprocessor, PREPROCESSORS)
    name = base_name(dataset)
    if preprocessor in ("test", *IN_COMMON):
        return preprocessor
    if preprocessor == "ascood":
        return "resized" if name in RESIZED_SETS else "classic"
    if "imagenet" in name:
        return "resized"
    return "jittered" if "aircraft" in name or "cub" in name else "classic"


def fixed_part(image: Image.Image, chain: Chain) -> Tensor:
    """The uint8 tensor (3, height, width) of an RGB image after what is the same in every epoch."""
    if chain.kind != "raw":
        image = F.resize(image, [chain.pre_size], interpolation=_interpolation(chain), antialias=True)
        image = F.center_crop(image, [chain.image_size, chain.image_size])
    tensor: Tensor = F.pil_to_tensor(image)
    return tensor


def random_part(image: Image.Image, chain: Chain, seed: int) -> Tensor:
    """The uint8 tensor of an RGB image after a training chain.

    `loading.MemoryBatches` draws the random part of `fixed` chains for whole batches; this is for sets that do not fit.

    Args:
        image: RGB.
        chain: of any kind.
        seed: decides every draw; the global generator is left as it is.
    """
    size, interpolation = chain.image_size, _interpolation(chain)
    if chain.kind == "resized":
        steps = [v2.RandomResizedCrop(size, interpolation=interpolation, antialias=True), v2.RandomHorizontalFlip()]
    elif chain.kind == "jittered":
        resize = v2.Resize(chain.pre_size, interpolation=interpolation, antialias=True)
        jitter = v2.ColorJitter(brightness=32.0 / 255.0, saturation=0.5)
        steps = [resize, v2.RandomCrop(size), v2.RandomHorizontalFlip(), jitter]
    elif chain.kind in ("classic", *IN_COMMON):
        padding = PADDING if chain.kind == "classic" else augment.PADDING
        flips = [] if chain.kind == "common" else [v2.RandomHorizontalFlip()]
        steps = [v2.Resize(chain.pre_size, interpolation=interpolation, antialias=True), v2.CenterCrop(size)]
        steps += [*flips, v2.RandomCrop(size, padding=padding)]
    else:
        return fixed_part(image, chain)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in steps:
            image = step(image)
    tensor: Tensor = F.pil_to_tensor(image)
    return tensor


def _interpolation(chain: Chain) -> Any:
    return v2.InterpolationMode(chain.interpolation)

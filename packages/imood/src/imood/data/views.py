"""From uint8 batches to what the network sees, on the device and for the whole batch at once.

| use | steps |
|---|---|
| small, training | crop with 4 zero pixels around 32, flip, colour jitter with p 0.8, grey with p 0.2 |
| large, training | a random part of 20 to 100 % of the area, resized to 224; flip, jitter, grey; normalised |
| common | crop shifted by up to 2 pixels, mirrored where the data set allows it: as all methods of `ood-bench` |
| test | small: as it is; large: normalised |

Every view of an image has draws of its own. Small images are not normalised, as in the published code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from ood_shared import augment
from ood_shared.augment import common_views
from ood_shared.loaders import channel_column, to_float
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PADDING = 4  # of 32 pixels
AREA = (0.2, 1.0)


@dataclass(frozen=True)
class Views:
    """How images of one side are augmented and normalised.

    Attributes:
        side: of the square images, in pixels.
        large: ImageNet's normalisation and random parts instead of padded crops.
        cropped: random parts were cut when the files were read, so that it is not done here.
    """

    side: int = 32
    large: bool = False
    cropped: bool = False

    def train(
        self, images: UInt8[Tensor, "n 3 side side"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 side side"]:
        """An augmented view of each image; repeat the images for several views."""
        if self.large:
            floats = to_float(images)
            if not self.cropped:
                floats = augment.random_resized_crop(floats, self.side, generator, AREA)
        else:
            floats = to_float(augment.random_crop(images, PADDING * self.side // 32, generator))
        floats = augment.random_flip(floats, generator)
        floats = augment.colour_jitter(floats, generator)
        return self._normalised(augment.random_grey(floats, generator))

    def test(self, images: Tensor) -> Float[Tensor, "n 3 side side"]:
        """The images as they are tested, without random draws; floats (noise) are taken as being in [0, 1]."""
        return self._normalised(to_float(images) if images.dtype == torch.uint8 else images.clone())

    def _normalised(self, floats: Tensor) -> Tensor:
        if not self.large:
            return floats
        mean, std = (channel_column(values, floats.device) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return floats.sub_(mean).div_(std)


@dataclass(frozen=True)
class CommonViews(Views):
    """The training views that every method has under `--backbone common`, in place of the paper's.

    Attributes:
        mirror: of `ood_shared.datasets.benchmark.Benchmark`; a property of the data set.
    """

    mirror: bool = False

    def train(
        self, images: UInt8[Tensor, "n 3 side side"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 side side"]:
        """See `Views.train`."""
        return to_float(common_views(images, generator, self.mirror))


SMALL = Views()
LARGE = Views(224, large=True)
LARGE_FILES = Views(224, large=True, cropped=True)

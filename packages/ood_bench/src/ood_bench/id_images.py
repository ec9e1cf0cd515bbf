"""The ID images that a detector is fitted on: read once, with their names and groups, then at a network's size."""

from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any

import torch
from ood_shared.datasets import ImageSet, load_any_size, resize
from ood_shared.datasets.benchmark import Benchmark, native_size
from ood_shared.datasets.imageset import notes_of
from ood_shared.datasets.parts import as_one_class, with_groups
from ood_shared.datasets.pixels import Range, parse_range
from ood_shared.datasets.registry import SQUARES
from ood_shared.errors import MissingSplitError
from ood_shared.notes import say

from ood_bench.backbones.backbone import Backbone
from ood_bench.backbones.choice import MOST_SIDE
from ood_bench.baseline_training import CHANNELS, SIDE


@dataclass(frozen=True, eq=False)
class IdImages:
    """Images, read.

    Attributes:
        word: name or path that they were asked for by.
        images: of one size.
        square: whether they are centre squares, because they differed in size.
        groups: of each image; None for none.
        span: of values of more than 8 bits, which scoring uses too; None for that of 16 bits.
    """

    word: str
    images: ImageSet = field(repr=False)
    square: bool
    groups: tuple[str, ...] | None
    span: Range | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.images.classes

    @property
    def side(self) -> int:
        """Shorter side, pixels."""
        return int(min(self.images.images.shape[1:3]))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each image."""
        if self.images.names is not None:
            return self.images.names
        return tuple(f"{self.images.name}#{number}" for number in range(len(self)))

    def about(self) -> dict[str, Any]:
        """For the card of a file."""
        pixels = sha256(self.images.images.tobytes()).hexdigest()
        labels = sha256(self.images.labels.tobytes()).hexdigest()
        return {
            "id": self.word,
            "images": len(self),
            "groups": None if self.groups is None else len(set(self.groups)),
            "licence": self.images.licence,
            "value_range": None if self.span is None else list(self.span),
            "sha256": {"pixels": pixels, "labels": labels},
        }

    def at(self, backbone: Backbone | None, mirror: bool) -> Benchmark:
        """The images at the size of a network, the common one when None."""
        side, channels = (SIDE, CHANNELS) if backbone is None else (backbone.inputs.side, backbone.inputs.channels)
        native = native_size(self.images.images.shape[1:3], side)
        pixels = resize(self.images.images, (side, side), channels=channels)
        labels = torch.from_numpy(self.images.labels)
        return Benchmark(pixels, labels, pixels, labels, self.classes, {}, native, mirror, train_groups=self.groups)


def read_id_images(
    word: str,
    data_dir: str | None,
    group: str | None = None,
    one_class: bool = False,
    value_range: str | None = None,
) -> IdImages:
    """The training split of a set; all images of own data that has no splits.

    Args:
        word: a known name or a path.
        data_dir: of known sets.
        group: how images belong together: a number, the folder at that depth of their path (1 is the first below the
            set's); or a CSV with the columns `file` and another one.
        one_class: take all images as one class, whatever their folders.
        value_range: `LOW,HIGH` of values of more than 8 bits; None: 0 to 65535 of 16 bits.

    Raises:
        InputError: what cannot be read, or a grouping that does not fit the images.
    """
    span = None if value_range is None else parse_range(value_range)
    try:
        images = load_any_size(word, "train", data_dir, MOST_SIDE, span)
    except MissingSplitError:
        images = load_any_size(word, "test", data_dir, MOST_SIDE, span)
    images = with_groups(as_one_class(images) if one_class else images, group)
    say((*notes_of(images), *_copies(images)))
    return IdImages(word, images, any(SQUARES in note for note in images.notes), images.groups, span)


def _copies(images: ImageSet) -> list[str]:
    """A line where images are equal, pixel by pixel."""
    different = len({blake2b(pixels.tobytes(), digest_size=16).digest() for pixels in images.images})
    copies = len(images) - different
    if not copies:
        return []
    said = "the threshold counts each as an image of its own. Remove them, if they are not meant"
    return [f"{images.name}: {copies} of {len(images)} images are copies of others, pixel by pixel; {said}"]

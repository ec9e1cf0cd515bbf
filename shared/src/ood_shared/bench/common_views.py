"""The one augmentation of every classifier under `--backbone common`: a shifted crop, and for photographs a mirror.

Whether a mirrored image still shows its class is a property of the data and not of a method: a mirrored cat is a cat, a
mirrored 3 is no digit, and a mirrored chest X-ray has its heart on the wrong side. A method that mirrors digits learns
such images as ID, and its near OOD sets suffer for a reason that is not the method's.
"""

from torch import Generator, Tensor

from ood_shared.augment import random_crop, random_flip

PADDING = 2  # pixels that a crop is shifted by at most, along each side
MIRRORED = frozenset({"cifar10", "cifar100", "stl10", "dtd", "places365", "lsun", "photos"})


def common_views(images: Tensor, generator: Generator, mirror: bool) -> Tensor:
    """One view of each image: shifted by up to `PADDING` pixels, and mirrored half of the time where that is right.

    Args:
        images: (n, c, h, w), any dtype, on any device; what is shifted in is 0.
        generator: on the CPU.
        mirror: of `Material.mirror`.
    """
    shifted = random_crop(images, PADDING, generator)
    return random_flip(shifted, generator) if mirror else shifted


def is_mirrored(name_or_path: str, wanted: str = "auto") -> bool:
    """Whether views of a set are mirrored.

    Args:
        name_or_path: the ID set. Of the known names those of photographs are; own data is not unless asked for.
        wanted: `--mirror`: `yes`, `no`, or `auto` for the rule above.
    """
    if wanted != "auto":
        return wanted == "yes"
    from ood_shared.datasets.registry import ALIASES

    return ALIASES.get(name_or_path.lower(), name_or_path.lower()) in MIRRORED

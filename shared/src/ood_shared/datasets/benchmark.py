"""What a bench run trains on and scores: one ID set, its novel classes, outlier sets, all in one size and colour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ood_shared.contract import NOVEL, Request
from ood_shared.datasets import NOISE, ImageSet, hold_out, load_any_size, make_noise, resize
from ood_shared.datasets.groups import groups_where_known
from ood_shared.datasets.imageset import notes_of
from ood_shared.datasets.parts import id_parts
from ood_shared.datasets.registry import ALIASES, check_outliers
from ood_shared.errors import InputError
from ood_shared.notes import say

NOISE_COUNTS = {"gaussian": 10_000, "uniform": 10_000, "sphere": 2000}
MIRRORED = frozenset({"cifar10", "cifar100", "stl10", "dtd", "places365", "lsun", "photos"})
SPHERE_MARGIN = 2.0  # added to the largest norm of a training image


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Everything in memory, on the CPU.

    Attributes:
        train: uint8 (n, channels, side, side), ID images to train on.
        train_labels: int64 (n,), 0..classes-1.
        test: uint8, ID images to score.
        test_labels: int64.
        classes: names of the ID classes.
        ood: outlier sets by name, the novel classes first: uint8, or float32 in the scale of [0, 1] for noise.
        native: height and width of the ID images as they were stored, at most `side`; to reduce other images by.
        mirror: whether common views of the training images are mirrored (`common_views`).
        licence: of the ID images, with their source; empty where nobody said.
        notes: how the sets were read and split, as far as a user should know.
        train_groups: of each image to train on, such as its patient; None where each is by itself.
        groups: by name of a set that is scored, the groups of its images; absent where each is by itself.
    """

    train: UInt8[Tensor, "n channels side side"] = field(repr=False)
    train_labels: Int64[Tensor, " n"] = field(repr=False)
    test: UInt8[Tensor, "m channels side side"] = field(repr=False)
    test_labels: Int64[Tensor, " m"] = field(repr=False)
    classes: tuple[str, ...]
    ood: Mapping[str, Tensor] = field(repr=False)
    native: tuple[int, int] = (0, 0)
    mirror: bool = False
    licence: str = ""
    notes: tuple[str, ...] = ()
    train_groups: tuple[str, ...] | None = field(default=None, repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def scored(self, id_name: str) -> dict[str, Tensor]:
        """What is scored, by name: the ID test images, then the outlier sets."""
        return {id_name: self.test, **self.ood}


def read_benchmark(
    request: Request,
    side: int,
    channels: int,
    generator: torch.Generator,
    train_limit: int | None = None,
    test_limit: int | None = None,
) -> Benchmark:
    """The images that the flags of a bench run name, cut at random to the limits of its budget.

    Images of any size become `side` x `side`; outliers larger than the ID images are first reduced to those' size, so
    that their sharpness does not give them away.

    Args:
        request: its sets, novel classes, mirror and data folder are read.
        side: height and width to reach, pixels.
        channels: 1 or 3.
        generator: of the choice of images, and of noise.
        train_limit: most images to train on; None takes all.
        test_limit: most images of each set to score.

    Raises:
        InputError: an unknown set, differing classes in train and test, no outlier set, or the ID set as one.
    """
    names = set_names(request.ood)
    check_outliers(request.id, names)
    train, test = id_parts(request, side)
    if train.classes != test.classes:
        raise InputError(f"--id {request.id}: train and test have different classes; both need the same.")
    read = [train, test]
    height, width = train.images.shape[1:3]
    native = native_size((height, width), side)
    held = None
    if request.novel_classes:
        train, test, held = hold_out(train, test, request.novel_classes.split(","))
    sets = [held] if held is not None else []
    limits = [test_limit] * len(sets) + [train_limit, test_limit]
    cut = [_cut(s, side, channels, limit, generator) for s, limit in zip([*sets, train, test], limits, strict=True)]
    *novel, fit, own = cut
    groups = {request.id: own.groups}
    ood = {}
    if novel:
        ood[NOVEL], groups[NOVEL] = novel[0].images, novel[0].groups
    drawn: dict[str, tuple[Tensor, tuple[str, ...] | None]] = {}
    for name in names:
        if name in NOISE:
            drawn[name] = make_noise_set(name, fit.images, generator), None
        else:
            outliers = load_any_size(name, "test", request.data_dir, side, request.span)
            read.append(outliers)
            pixels = resize(outliers.images, (side, side), channels=channels, native=native)
            drawn[name] = pixels, groups_where_known(outliers, request.group)
    for name, (images, of_images) in drawn.items():
        chosen = _chosen(len(images), test_limit, generator)
        ood[name] = images[chosen]
        groups[name] = None if of_images is None else tuple(of_images[at] for at in chosen.tolist())
    notes = notes_of(*read)
    say(notes)
    return Benchmark(
        train=fit.images,
        train_labels=fit.labels,
        test=own.images,
        test_labels=own.labels,
        classes=train.classes,
        ood=ood,
        native=native,
        mirror=is_mirrored(request.id, request.mirror),
        licence=train.licence,
        notes=notes,
        train_groups=fit.groups,
        groups={name: found for name, found in groups.items() if found is not None and len(set(found)) > 1},
    )


def native_size(own: tuple[int, int], side: int) -> tuple[int, int]:
    """The size to reduce other images by: that of the ID images where they are enlarged to `side`, else `side`."""
    return own if min(own) < side else (side, side)


def make_noise_set(name: str, train: UInt8[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "m c h w"]:
    """A noise set as large as the papers have it, in the shape of the training images.

    Args:
        name: in `ood_shared.datasets.NOISE`.
        train: ID training images; the sphere lies outside the largest of them.
        generator: of the noise.
    """
    radius = largest_norm(train) + SPHERE_MARGIN
    _, channels, height, width = train.shape
    return make_noise(name, NOISE_COUNTS[name], (channels, height, width), generator, radius)


def is_mirrored(name_or_path: str, wanted: str = "auto") -> bool:
    """Whether views of a set are mirrored.

    Whether a mirrored image still shows its class is a property of the data and not of a method: a mirrored cat is a
    cat, a mirrored 3 is no digit, and a mirrored chest X-ray has its heart on the wrong side. A method that mirrors
    digits learns such images as ID, and its near OOD sets suffer for a reason that is not the method's.

    Args:
        name_or_path: the ID set. Of the known names those of photographs are; own data is not unless asked for.
        wanted: `--mirror`: `yes`, `no`, or `auto` for the rule above.
    """
    if wanted != "auto":
        return wanted == "yes"
    return ALIASES.get(name_or_path.lower(), name_or_path.lower()) in MIRRORED


def largest_norm(images: UInt8[Tensor, "n c h w"]) -> float:
    """Largest Euclidean norm of uint8 images in the scale of [0, 1]."""
    squares = [(chunk.double() / 255).flatten(1).square().sum(1).amax() for chunk in torch.split(images, 10_000)]
    return float(torch.stack(squares).amax().sqrt())


def as_uint8(images: Tensor) -> UInt8[Tensor, "n channels side side"]:
    """Images as they are, noise rounded to grey levels, for packages that know no other images.

    Raises:
        InputError: values outside of [0, 1], which `sphere` has.
    """
    if images.dtype == torch.uint8:
        return images
    if images.min() < 0 or images.max() > 1:
        raise InputError("`sphere` has values outside of [0, 1], which this method cannot take. Leave it out of --ood.")
    return (255 * images).round().to(torch.uint8)


def set_names(text: str) -> list[str]:
    """The names in `--ood`.

    Raises:
        InputError: none, or one more than once.
    """
    names = [name for name in text.split(",") if name]
    if not names or len(set(names)) != len(names):
        raise InputError(f"--ood `{text}` names no set, or one more than once.")
    return names


class _Part(NamedTuple):
    """Some of a set, as tensors."""

    images: Tensor
    labels: Tensor
    groups: tuple[str, ...] | None


def _cut(images: ImageSet, side: int, channels: int, limit: int | None, generator: torch.Generator) -> _Part:
    chosen = _chosen(len(images), limit, generator)
    part = images.select(chosen.numpy())
    pixels = resize(part.images, (side, side), channels=channels)
    return _Part(pixels, torch.from_numpy(part.labels), part.groups)


def _chosen(n: int, limit: int | None, generator: torch.Generator) -> Tensor:
    """At most `limit` indices, drawn at random, in order."""
    if limit is None or n <= limit:
        return torch.arange(n)
    return torch.randperm(n, generator=generator)[:limit].sort().values

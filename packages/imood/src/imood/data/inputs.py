"""How an image of any size becomes what a network of a run takes: the way the test command takes the same image."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import UInt8
from ood_shared.datasets import resize
from ood_shared.errors import InputError, one_line
from PIL import Image
from torch import Tensor

from imood.data.images import centre, squeezed
from imood.data.views import LARGE, SMALL, Views

FITS = ("resize", "squeeze", "centre")
MOST_SIDE = 1 << 16  # pixels


@dataclass(frozen=True)
class Inputs:
    """Test images of a task.

    Attributes:
        views: side and normalisation.
        fit: how other sizes are brought to that side. `resize`: own data and known sets; `squeeze`: files of the CIFAR
            benchmarks, by Pillow; `centre`: ImageNet's, the middle of the image whose shorter side became 256.
        native: height and width of the training images; with `resize`, larger images are first reduced to them where
            the training images were enlarged, so that sharpness does not tell the two apart.
        classes: names of the ID classes; empty where nobody named them.
    """

    views: Views = SMALL
    fit: str = "resize"
    native: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise InputError(
                f"The way `{one_line(self.fit, 60)}` to bring images to a size is not known. Known: {', '.join(FITS)}."
            )

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 side side"]:
        """Images of one size, grey or RGB, at the network's size."""
        side = self.views.side
        if self.fit == "resize":
            return resize(pixels, (side, side), 3, self.native)
        cut = centre if self.fit == "centre" else squeezed
        rows = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
        return torch.stack([cut(Image.fromarray(row), side) for row in rows])

    def record(self) -> dict[str, Any]:
        """As plain values, for the checkpoint."""
        native = None if self.native is None else list(self.native)
        return {"side": self.views.side, "fit": self.fit, "native": native, "classes": list(self.classes)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Inputs":
        """What `record` gave.

        Raises:
            InputError: it was damaged since.
        """
        if not isinstance(record, Mapping):
            raise InputError(f"the inputs are {one_line(repr(record), 60)}, expected side, fit, native and classes.")
        lacking = next((name for name in ("side", "fit", "native", "classes") if name not in record), None)
        if lacking is not None:
            raise InputError(f"the inputs lack `{lacking}`.")
        native, classes = record["native"], record["classes"]
        if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
            raise InputError(f"`classes` is {one_line(repr(classes), 60)}, expected a list of names.")
        size = None if native is None else size_of(native, "`native`")
        return cls(views_of_side(record["side"]), record["fit"], size, tuple(classes))


def size_of(found: Any, what: str) -> tuple[int, int]:
    """Height and width.

    Raises:
        InputError: other than two whole numbers above 0; `what` names them.
    """
    pair = isinstance(found, list | tuple) and len(found) == 2
    if not pair or not all(_whole(number) and 0 < number <= MOST_SIDE for number in found):
        raise InputError(f"{what} is {one_line(repr(found), 60)}; expected (height, width), whole numbers above 0.")
    return int(found[0]), int(found[1])


def views_of_side(side: int) -> Views:
    """Small images are taken as they are, those of ImageNet's side are normalised.

    Raises:
        InputError: another side.
    """
    for views in (SMALL, LARGE):
        if _whole(side) and views.side == side:
            return views
    raise InputError(f"side is {one_line(repr(side), 60)}; the networks take {SMALL.side} or {LARGE.side} pixels.")


def _whole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)

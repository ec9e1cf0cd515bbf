"""The OOD sets to test with: noise, folders, and what the shared registry knows, as 28 x 28 grey images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from ood_shared.datasets import NOISE, is_known, load, load_any_size
from ood_shared.datasets.benchmark import make_noise_set
from ood_shared.datasets.imageset import told
from ood_shared.datasets.own import looks_like_path
from torch import Tensor

from oodgen.data.folders import SIDE, as_pixels, read_outlier_folder
from oodgen.data.prepare import fit_28


@dataclass(frozen=True)
class OutlierSet:
    """Outliers to test with.

    Attributes:
        name: as given on the command line.
        images: uint8 (n, 1, 28, 28), or float32 in the scale of [0, 1] where that cannot hold them (noise, sphere).
    """

    name: str
    images: Tensor


def load_outlier_set(
    name: str,
    train: Tensor,
    generator: torch.Generator,
    data_dir: str | None = None,
    native: tuple[int, int] | None = None,
) -> OutlierSet:
    """The outliers of a name or path.

    Args:
        name: noise, a name of the shared registry, a documented folder (`<name>/test/<class>/*.png`), or another path
            of the registry. A name wins over a folder of that name, which is `./<name>`.
        train: in-distribution training images, uint8; the sphere lies outside the largest of them.
        generator: source of the noise.
        data_dir: where named sets are kept.
        native: when given, sets of other sizes are turned into 28 x 28 grey, by way of this size.

    Raises:
        InputError: the set is unknown or missing, or has images of another size.
    """
    if name in NOISE:
        return OutlierSet(name, make_noise_set(name, train, generator))
    if native is not None:
        return OutlierSet(name, fit_28(told(load_any_size(name, "test", data_dir, SIDE)), native).images)
    if not is_known(name) and looks_like_path(name) and (Path(name) / "test").is_dir():
        return OutlierSet(name, read_outlier_folder(name).images)
    return OutlierSet(name, as_pixels(told(load(name, "test", data_dir))).images)

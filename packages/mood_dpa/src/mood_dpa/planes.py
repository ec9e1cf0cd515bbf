"""Three planes through the largest value of an anomaly map, turned as a viewer of images turns them.

Everything that a drawing needs is kept, and no whole volume, so that all volumes of a call can be drawn at the end, on
one scale of colours.
"""

from dataclasses import dataclass, field
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from mood_dpa.data.volumes import Volume

PLANES = ("sagittal", "coronal", "axial")
UPPER = 99.9  # percentile of a map that its strongest colour should reach
AIR = 0.05  # share of the range of intensities that air does not exceed
SIDES = (("P", "A", "I", "S"), ("L", "R", "I", "S"), ("L", "R", "P", "A"))  # left, right, bottom, top of each plane


@dataclass(frozen=True)
class Planes:
    """What is drawn of a volume.

    Attributes:
        name: of the volume.
        score: of the volume, or None.
        image: for each plane (sagittal, coronal, axial) a part (h, w) of the image; row 0 is at the bottom.
        heat: the same parts of the map.
        body: which pixels are not air.
        mask: true anomalies in them, or None.
        titles: what each plane is, with the file's own index and millimetres.
        aspects: height of a pixel over its width.
        window: of the grey values.
        upper: the map's value that should have the strongest colour.
        greatest: the map's largest value in the body, its voxel in the file, and its place in mm.
    """

    name: str
    score: float | None
    image: tuple[npt.NDArray[np.float32], ...] = field(repr=False)
    heat: tuple[npt.NDArray[np.float32], ...] = field(repr=False)
    body: tuple[npt.NDArray[np.bool_], ...] = field(repr=False)
    mask: tuple[npt.NDArray[np.bool_], ...] | None = field(repr=False)
    titles: tuple[str, ...]
    aspects: tuple[float, ...]
    window: tuple[float, float]
    upper: float
    greatest: tuple[float, tuple[int, ...], tuple[float, ...]]


def planes_of(
    volume: Volume,
    anomaly_map: npt.NDArray[np.floating],
    mask: npt.NDArray[Any] | None = None,
    score: float | None = None,
) -> Planes:
    """The planes through the map's largest value outside of air.

    Args:
        volume: in its own axes; its affine says which of them is left, front and up.
        anomaly_map: of the volume's shape.
        mask: true anomalies.
        score: of the volume.
    """
    body = body_of(volume.data)
    inside = np.where(body, anomaly_map, -np.inf) if body.any() else anomaly_map
    voxel = tuple(int(i) for i in np.unravel_index(int(inside.argmax()), inside.shape))
    place = (volume.affine @ [*voxel, 1])[:3]
    turns: npt.NDArray[Any] = nibabel.orientations.io_orientation(volume.affine)
    order = turns[:, 0].astype(int)  # of each axis of the file: 0 left-right, 1 back-front, 2 down-up
    size = np.empty(3)
    size[order] = np.sqrt((volume.affine[:3, :3] ** 2).sum(0))
    arrays = [volume.data, anomaly_map, body, *([] if mask is None else [mask > 0.5])]
    turned = [nibabel.orientations.apply_orientation(array, turns) for array in arrays]
    axes = [int(np.flatnonzero(order == plane)[0]) for plane in range(3)]
    at = [voxel[axis] if turns[axis, 1] > 0 else volume.data.shape[axis] - 1 - voxel[axis] for axis in axes]
    cuts = [tuple(np.take(array, at[plane], plane).T for plane in range(3)) for array in turned]
    others = [[a for a in range(3) if a != plane] for plane in range(3)]
    found = np.percentile(volume.data, (1, 99.5))
    return Planes(
        name=volume.name,
        score=score,
        image=cuts[0],
        heat=cuts[1],
        body=cuts[2],
        mask=None if mask is None else cuts[3],
        titles=tuple(
            f"{PLANES[plane]}, voxel {voxel[axes[plane]]} of axis {axes[plane]}, {'xyz'[plane]} = {place[plane]:.1f} mm"
            for plane in range(3)
        ),
        aspects=tuple(float(size[b] / size[a]) for a, b in others),
        window=(float(found[0]), float(max(found[1], found[0] + 1e-6))),
        upper=float(np.percentile(anomaly_map[body] if body.any() else anomaly_map, UPPER)),
        greatest=(float(anomaly_map[voxel]), voxel, tuple(float(value) for value in place)),
    )


def body_of(image: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Voxels that are not air: all but the dark ones that hang together with the volume's border.

    Dark voxels inside, such as ventricles and lungs, belong to the body.
    """
    from scipy.ndimage import label

    low, high = float(image.min()), float(np.percentile(image, 99.5))
    dark = image <= low + AIR * (high - low)
    regions, _ = label(dark)
    sides = [np.take(regions, i, axis) for axis in range(3) for i in (0, -1)]
    at_border = np.unique(np.concatenate([side.ravel() for side in sides]))
    return np.asarray(~np.isin(regions, at_border[at_border > 0]))

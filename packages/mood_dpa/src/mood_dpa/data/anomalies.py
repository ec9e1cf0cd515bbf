"""Synthetic anomalies: ellipsoids of one grey value and some noise, blended into a healthy volume.

Published with the challenge solution; the draws, their laws and their order are kept, so a seed gives the same set.
Ellipsoids are rasterised in their bounding boxes only.
"""

from dataclasses import dataclass, field
from math import cos, sin

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError

AXIS_ORDERS = ("array", "reference")
LEAST_PIXELS = 4000  # positive pixels that a slice needs to get an anomaly
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Anomaly:
    """What was drawn: the changed image in [0, 1], the label mask, and the arguments of each ellipsoid."""

    image: npt.NDArray[np.float32] = field(repr=False)
    mask: npt.NDArray[np.uint8] = field(repr=False)
    calls: list[dict[str, list[float]]]


def centre_and_radius(image: npt.NDArray[np.floating]) -> tuple[list[float], float]:
    """Middle of the positive voxels along each axis, and the mean of their half extents.

    Raises:
        InputError: no voxel is positive.
    """
    positive = image > 0
    if not positive.any():
        raise InputError("No voxel is above 0, so there is no body to put an anomaly into.")
    centres, halves = [], []
    for axis in range(image.ndim):
        others = tuple(a for a in range(image.ndim) if a != axis)
        where = np.flatnonzero(positive.any(axis=others))
        centres.append(float(where.mean()))
        halves.append(len(where) / 2)
    return centres, float(np.mean(halves))


def ellipsoid_box(
    shape: tuple[int, ...],
    centre: Triple | list[float],
    radii: Triple | list[float],
    angles: Triple | list[float],
    axis_order: str = "reference",
) -> tuple[tuple[slice, ...], npt.NDArray[np.bool_]]:
    """The box around an ellipsoid, cut at the volume's border, and the raster in it.

    Args:
        shape: (n0, n1, n2) of the volume.
        centre: in voxels. With `reference` the first number belongs to the last axis and odd sizes are shifted by half
            a voxel, as published; with `array` the order is that of the axes.
        radii: in voxels, along the ellipsoid's own axes.
        angles: radians, about the last, the middle and the first axis.

    Returns:
        The slices of the box, empty where the ellipsoid is outside, and the boolean raster of that box.
    """
    if axis_order not in AXIS_ORDERS:
        raise InputError(f"axis_order `{axis_order}` is not known. Known: {', '.join(AXIS_ORDERS)}.")
    n = np.array(shape, dtype=np.float64)
    c, rho = np.asarray(centre, dtype=np.float64), np.asarray(radii, dtype=np.float64)
    if axis_order == "array":  # x, y, z of the formulas are the last, middle and first axis
        origin, q = np.zeros(3), c[::-1]
    else:
        origin, q = np.floor(n / 2)[::-1], c - n[::-1] / 2
    turn = _rotation(angles)
    reach = np.sqrt(((turn.T * rho) ** 2).sum(1))  # half extents of the turned ellipsoid along x, y, z
    middle = (q + origin)[::-1]
    low = np.clip(np.floor(middle - reach[::-1]) - 1, 0, n).astype(int)
    high = np.clip(np.ceil(middle + reach[::-1]) + 2, low, n).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    z, y, x = (np.arange(a, b) - o for a, b, o in zip(low, high, origin[::-1], strict=True))
    distance = np.zeros([b - a for a, b in zip(low, high, strict=True)])
    for row, shift, radius in zip(turn, turn @ q, rho, strict=True):  # a sum of one number per index of each axis
        along = (row[0] * x + (row[1] * y)[:, None])[None] + (row[2] * z)[:, None, None]
        along -= shift
        along /= radius
        distance += np.square(along, out=along)
    return box, distance <= 1


def ellipsoid(
    shape: tuple[int, ...],
    centre: Triple | list[float],
    radii: Triple | list[float],
    angles: Triple | list[float],
    axis_order: str = "reference",
) -> npt.NDArray[np.bool_]:
    """The raster of an ellipsoid in the whole volume; arguments as in `ellipsoid_box`."""
    raster = np.zeros(shape, dtype=bool)
    box, inside = ellipsoid_box(shape, centre, radii, angles, axis_order)
    raster[box] = inside
    return raster


def add_anomaly_3d(
    volume: npt.NDArray[np.floating], draws: np.random.RandomState, axis_order: str = "array"
) -> Anomaly:
    """A volume with one to three ellipsoids.

    Args:
        volume: (n0, n1, n2), healthy, in [0, 1].
        draws: the published set used NumPy's legacy generator, whose numbers never change.
        axis_order: `reference` puts the ellipsoids where the published program put them (first and last axis swapped).

    Raises:
        InputError: no voxel is positive.
    """
    centres, r = centre_and_radius(volume)
    image, mask = np.array(volume, dtype=np.float32), np.zeros(volume.shape, np.uint8)
    calls: list[dict[str, list[float]]] = []
    for _ in range(int(draws.randint(1, 4))):
        centre = [float(draws.normal(c, r / 3)) for c in centres]
        radii = [max(5.0, float(draws.normal(r / 16, r / 16))) for _ in range(3)]
        angles = [float(np.deg2rad(draws.uniform(0, 90))) for _ in range(3)]
        box, inside = ellipsoid_box(image.shape, centre, radii, angles, axis_order)
        _blend(image[box], inside, draws)
        if not calls:  # later ones change clipped voxels only within their boxes
            np.clip(image, 0, 1, out=image)
        mask[box][inside] = 1
        calls.append({"centers": centre, "radii": radii, "angles": angles})
    return Anomaly(image, mask, calls)


def add_anomaly_2d(image: npt.NDArray[np.floating], draws: np.random.RandomState, kind: str) -> Anomaly:
    """A slice with one `circle` or `ellipse` (not turned).

    Raises:
        InputError: no pixel is positive, or an unknown kind.
    """
    if kind not in ("circle", "ellipse"):
        raise InputError(f"Shape `{kind}` is not known. Known: circle, ellipse.")
    (row_middle, column_middle), r = centre_and_radius(image)
    h, w = column_middle, row_middle  # the published names: h from the columns, w from the rows
    x_h, x_w = float(draws.normal(h, r / 3)), float(draws.normal(w, r / 3))
    count = 1 if kind == "circle" else 2
    radii = [max(5.0, float(draws.normal(r / 16, r / 16))) for _ in range(count)]
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    inside = ((rows - x_w) / radii[0]) ** 2 + ((columns - x_h) / radii[-1]) ** 2 < 1
    changed = np.array(image, dtype=np.float64)
    _blend(changed, inside, draws)
    call = {"centers": [x_h, x_w], "radii": radii, "angles": []}
    return Anomaly(np.clip(changed, 0, 1).astype(np.float32), inside.astype(np.uint8), [call])


def add_anomalies_2d(image: npt.NDArray[np.floating], draws: np.random.RandomState) -> Anomaly | None:
    """A slice with one to three circles, or as many ellipses; None for a slice with too little in it."""
    if int((image > 0).sum()) < LEAST_PIXELS:
        return None
    kind = ("circle", "ellipse")[int(draws.randint(0, 2))]
    mask, calls = np.zeros(image.shape, np.uint8), []
    for _ in range(int(draws.randint(1, 4))):
        anomaly = add_anomaly_2d(image, draws, kind)
        image, mask = anomaly.image, mask | anomaly.mask
        calls += anomaly.calls
    return Anomaly(np.asarray(image, dtype=np.float32), mask, calls)


def _blend(image: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_], draws: np.random.RandomState) -> None:
    """v <- alpha v + (1 - alpha)(colour + noise) inside, in place."""
    colour = float(draws.uniform(0, 1))
    alpha = float(np.clip(draws.exponential(1 / 4), 0, 1))
    noise = draws.uniform(0, 1, int(inside.sum())) * colour / 10
    blended = alpha * image[inside] + (1 - alpha) * (colour + noise)
    image[inside] = np.clip(blended, 0, 1)


def _rotation(angles: Triple | list[float]) -> npt.NDArray[np.float64]:
    """Rz(-a2) Ry(-a1) Rx(-a0)."""
    (sx, cx), (sy, cy), (sz, cz) = ((sin(-a), cos(-a)) for a in angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turn: npt.NDArray[np.float64] = about_z @ about_y @ about_x
    return turn

"""Anomalies that a threshold on intensities does not show, one in a volume.

Each is an ellipsoid, turned at random, that lies almost wholly in the head, and one of five kinds:

    texture      noise of a scale of about two voxels on top; the mean intensity stays
    deformation  tissue is pulled towards the centre, or pushed away from it; no intensity is new
    matched      filled with the mean intensity of its rim; structure is missing
    mirrored     turned about along one axis; tissue that does not fit on
    tumour       a smooth blob, lighter or darker, that fades towards its border

Ellipsoids of one grey value, as the challenge's solution drew them, are in `anomalies`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mood_dpa.data.anomalies import Anomaly
from mood_dpa.standalone import InputError, unknown

RADII = (5.0, 9.0)  # voxels of a cube of 64; others in proportion
SIDE = 64
IN_HEAD = 0.95  # of the ellipsoid
TRIES = 2000
EDGE = 0.7  # radius, as a share, from which texture, fill and mirror image fade into what was there
NOISE = 0.01  # of the subjects, in what is filled

Voxels = npt.NDArray[np.float32]
Radius = npt.NDArray[np.float64]


def add_subtle_anomaly(volume: Voxels, draws: np.random.Generator, kind: str) -> Anomaly:
    """The volume with one anomaly.

    Args:
        volume: (n0, n1, n2), healthy, in [0, 1], 0 outside the head.
        draws: decides everything but the kind.
        kind: one of `KINDS`.

    Returns:
        Image, mask (only voxels of the head) and where the ellipsoid lies. Outside the ellipsoid the image is the
        volume, and no voxel enters or leaves the head.

    Raises:
        InputError: an unknown kind, or a head too small for an ellipsoid.
    """
    if kind not in _MAKERS:
        raise unknown("kind of anomaly", kind, KINDS)
    head = volume > 0
    centre, turn, radii = _place(head, draws)
    offset = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij")).reshape(3, -1) - centre[:, None]
    radius = np.sqrt(((turn @ offset / radii[:, None]) ** 2).sum(0)).reshape(volume.shape)  # 1 on the surface
    changed, mask = _MAKERS[kind](volume, radius, offset, centre, draws)
    tissue = head & (radius < 1)
    least = float(volume[head].min())  # 0 would be air
    image = np.where(tissue, np.clip(changed, least, 1), volume).astype(np.float32)
    call = {"centers": centre.tolist(), "radii": radii.tolist(), "turn": turn.ravel().tolist()}
    return Anomaly(image, (mask & tissue).astype(np.uint8), [call])


def _place(head: npt.NDArray[np.bool_], draws: np.random.Generator) -> tuple[Radius, Radius, Radius]:
    """Centre, rotation and radii of an ellipsoid of which `IN_HEAD` is in the head."""
    from scipy.spatial.transform import Rotation

    inside = np.argwhere(head)
    if not len(inside):
        raise InputError("No voxel is above 0, so there is no head to put an anomaly into.")
    ball = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3, indexing="ij")).reshape(3, -1)
    ball = ball[:, (ball**2).sum(0) <= 1]
    unit = max(head.shape) / SIDE
    for _ in range(TRIES):
        centre = inside[draws.integers(len(inside))].astype(np.float64)
        radii = draws.uniform(*RADII, 3) * unit
        turn = Rotation.random(random_state=draws).as_matrix()
        points = np.rint(turn.T @ (ball * radii[:, None]) + centre[:, None]).astype(int)
        known = np.all((points >= 0) & (points < np.array(head.shape)[:, None]), axis=0)
        if known.mean() >= IN_HEAD and head[tuple(points[:, known])].sum() >= IN_HEAD * points.shape[1]:
            return centre, turn, radii
    raise InputError(f"In {TRIES} tries no ellipsoid of {RADII[0] * unit:g} to {RADII[1] * unit:g} voxels fitted.")


Maker = Callable[[Voxels, Radius, Radius, Radius, np.random.Generator], tuple[Radius, npt.NDArray[np.bool_]]]


def _texture(
    volume: Voxels, radius: Radius, offset: Radius, centre: Radius, draws: np.random.Generator
) -> tuple[Radius, npt.NDArray[np.bool_]]:
    from scipy.ndimage import gaussian_filter

    unit = max(volume.shape) / SIDE
    noise = draws.standard_normal(volume.shape)
    grain = gaussian_filter(noise, 1.0 * unit) - gaussian_filter(noise, 2.0 * unit)
    inside = radius < 1
    grain -= grain[inside].mean()
    grain *= draws.uniform(0.08, 0.16) / grain[inside].std()
    return volume + _fade(radius) * grain, inside


def _deformation(
    volume: Voxels, radius: Radius, offset: Radius, centre: Radius, draws: np.random.Generator
) -> tuple[Radius, npt.NDArray[np.bool_]]:
    strength = draws.uniform(0.5, 0.8) * draws.choice([-1.0, 1.0])
    factor = -strength * np.clip(1 - radius**2, 0, None) ** 2
    # beyond 0.8 tissue moves by less than half a voxel
    return _sampled(volume, offset * (1 + factor.reshape(1, -1)) + centre[:, None]), radius < 0.8


def _matched(
    volume: Voxels, radius: Radius, offset: Radius, centre: Radius, draws: np.random.Generator
) -> tuple[Radius, npt.NDArray[np.bool_]]:
    rim = (radius > 1) & (radius < 1.4) & (volume > 0)
    level = float(volume[rim].mean()) + draws.normal(0, NOISE, volume.shape)
    return volume + _fade(radius) * (level - volume), radius < 1


def _mirrored(
    volume: Voxels, radius: Radius, offset: Radius, centre: Radius, draws: np.random.Generator
) -> tuple[Radius, npt.NDArray[np.bool_]]:
    turned = offset.copy()
    turned[draws.integers(3)] *= -1  # an ellipsoid that is turned sees a little of what is beside it
    other = _sampled(volume, turned + centre[:, None])
    return volume + _fade(radius) * (other - volume), radius < 1


def _tumour(
    volume: Voxels, radius: Radius, offset: Radius, centre: Radius, draws: np.random.Generator
) -> tuple[Radius, npt.NDArray[np.bool_]]:
    height = draws.uniform(0.2, 0.4) * draws.choice([-1.0, 1.0])
    profile = np.clip(1 - radius**2, 0, None)
    return volume + height * profile, radius < 0.9  # at 0.9 a fifth of its height


_MAKERS: dict[str, Maker] = {
    "texture": _texture,
    "deformation": _deformation,
    "matched": _matched,
    "mirrored": _mirrored,
    "tumour": _tumour,
}
KINDS = tuple(_MAKERS)


def _fade(radius: Radius) -> Radius:
    """1 up to `EDGE`, then down to 0 at the surface."""
    weight: Radius = np.clip((1 - radius) / (1 - EDGE), 0, 1)
    return weight


def _sampled(volume: Voxels, where: Radius) -> Radius:
    """Intensities at places (3, n); where air would come in, the volume's own."""
    from scipy.ndimage import map_coordinates

    found: Radius = map_coordinates(volume, where.reshape(3, *volume.shape), order=1, mode="nearest").astype(float)
    air = map_coordinates((volume > 0).astype(np.float32), where.reshape(3, *volume.shape), order=1) < 0.99
    return np.where(air, volume, found)

"""Synthetic anomalies: ellipsoids against the published formula, and what stays outside of them."""

import math

import numpy as np
import pytest
from mood_dpa.data.anomalies import add_anomaly_3d, ellipsoid


def literal_ellipsoid(shape, centre, radii, angles):
    """The formula over the whole grid, as published."""
    n = np.array(shape)
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    p = np.stack([k - n[2] // 2, j - n[1] // 2, i - n[0] // 2]).reshape(3, -1).astype(float)
    q = np.array(centre) - n[::-1] / 2
    x, y, z = (-a for a in angles)
    rx = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    ry = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    rz = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    turn = rz @ ry @ rx
    return ((((turn @ p - (turn @ q)[:, None]) / np.array(radii)[:, None]) ** 2).sum(0) <= 1).reshape(shape)


@pytest.mark.parametrize("seed", range(12))
def test_drawing_in_the_box_equals_drawing_on_the_whole_grid(seed: int) -> None:
    draws = np.random.default_rng(seed)
    shape = tuple(int(n) for n in draws.integers(9, 30, 3))
    centre = [float(draws.uniform(-8, n + 8)) for n in reversed(shape)]
    radii, angles = draws.uniform(2, 9, 3).tolist(), draws.uniform(0, 1.6, 3).tolist()
    assert np.array_equal(ellipsoid(shape, centre, radii, angles), literal_ellipsoid(shape, centre, radii, angles))


def test_array_order_puts_the_centre_where_it_was_drawn() -> None:
    found = ellipsoid((21, 31, 41), (5, 15, 30), (3, 3, 3), (0.3, 0.2, 0.1), "array")
    np.testing.assert_allclose(
        [axis.mean() for axis in np.nonzero(found)], (5, 15, 30), atol=0.3
    )  # voxels on the very border may fall on one side


def test_anomalies_stay_in_range_and_change_nothing_outside_the_mask() -> None:
    volume = np.random.default_rng(0).random((30, 32, 28)).astype(np.float32)
    found = add_anomaly_3d(volume, np.random.RandomState(4))
    assert 0 <= found.image.min() <= found.image.max() <= 1
    assert np.array_equal(found.image[found.mask == 0], volume[found.mask == 0])
    assert (found.image[found.mask == 1] != volume[found.mask == 1]).mean() > 0.9

"""Drawing anomalies in their boxes, and average precision by counting, against the literal forms: ratios, same results.

python benchmarks/bench_drawing_and_ap.py [--side 128] [--repeats 3] [--output FILE.json]
"""

import argparse
import json
from math import cos, sin
from pathlib import Path

import numpy as np
import torch
from mood_dpa.data.anomalies import ellipsoid, ellipsoid_box
from mood_dpa.ranking import average_precision
from ood_shared import files, runs
from ood_shared.testing.timing import measure_in_turns
from sklearn.metrics import average_precision_score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    cpu, side = torch.device("cpu"), options.side
    shape, radii, angles = (side,) * 3, (8.0, 6.0, 10.0), (0.4, 0.9, 0.2)
    centre = (side * 0.4, side * 0.5, side * 0.6)
    assert np.array_equal(literal(shape, centre, radii, angles), ellipsoid(shape, centre, radii, angles))
    drawing = measure_in_turns(
        {
            "whole grid": lambda: literal(shape, centre, radii, angles),
            "box": lambda: ellipsoid_box(shape, centre, radii, angles),
        },
        options.repeats,
        cpu,
    )
    draws = np.random.default_rng(0)
    labels = draws.random(side**3) < 0.003
    scores = np.clip(draws.gamma(1, 0.02, side**3) + 0.02 * labels, 0, 1).astype(np.float16)
    by_sorting, by_counting = average_precision_score(labels, scores), average_precision(labels, scores)
    assert abs(by_sorting - by_counting) < 1e-9, (by_sorting, by_counting)
    ap = measure_in_turns(
        {
            "scikit-learn": lambda: average_precision_score(labels, scores),
            "counting": lambda: average_precision(labels, scores),
        },
        options.repeats,
        cpu,
    )
    record = {
        "side": side,
        "drawing_ratio": drawing["whole grid"].median / drawing["box"].median,
        "ap_ratio": ap["scikit-learn"].median / ap["counting"].median,
        "seconds": {name: timing.record() for name, timing in {**drawing, **ap}.items()},
        "hardware": runs.hardware(cpu),
        "versions": runs.versions(),
    }
    print(f"drawing in the box is {record['drawing_ratio']:.0f} times as fast (wanted: 50), same voxels")
    print(f"AP by counting is {record['ap_ratio']:.1f} times as fast (wanted: 10), same to 1e-9")
    if options.output:
        files.write_json(options.output, json.loads(json.dumps(record)))


def literal(shape, centre, radii, angles):
    """Every voxel of the grid is turned and compared, as the formula of the ellipsoid says."""
    n = np.array(shape)
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    p = np.stack([k - n[2] // 2, j - n[1] // 2, i - n[0] // 2]).reshape(3, -1).astype(float)
    q = np.array(centre) - n[::-1] / 2
    x, y, z = (-a for a in angles)
    rx = np.array([[1, 0, 0], [0, cos(x), -sin(x)], [0, sin(x), cos(x)]])
    ry = np.array([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]])
    rz = np.array([[cos(z), -sin(z), 0], [sin(z), cos(z), 0], [0, 0, 1]])
    turn = rz @ ry @ rx
    return ((((turn @ p - (turn @ q)[:, None]) / np.array(radii)[:, None]) ** 2).sum(0) <= 1).reshape(shape)


if __name__ == "__main__":
    main()

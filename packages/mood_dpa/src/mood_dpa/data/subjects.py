"""Embedded subjects: the MNI152 template, bent, turned, scaled and toned by random but repeatable amounts.

Two difficulties. `easy`: amounts so small that a voxel-wise mean of the subjects is still a head. `hard`: turns,
stretches, shifts and displacements of several voxels, so that one voxel holds another tissue in each subject; the
anomalies are those of `subtle_anomalies`, one kind in a volume.

Source of the template: ICBM 152 nonlinear atlases 2009 (Fonov et al., NeuroImage 2011), as the package nilearn ships
it. The real challenge data need a registration; these need nothing.
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ood_shared.files import read_json

from mood_dpa.data.folds import folds_text
from mood_dpa.data.subtle_anomalies import KINDS, add_subtle_anomaly
from mood_dpa.data.volumes import list_volumes, write_volume
from mood_dpa.standalone import InputError, unknown, write_text

TEMPLATE_MM = 2
CUBE = 128  # voxels per side of the template's cube, 2 mm each
THRESHOLD = 0.02  # below it the resampled template is background
NOISE = 0.01  # standard deviation, of intensities in [0, 1]
VALIDATED = 8  # every so many of the hard subjects that are not for testing is validated on
RECORD = "subjects.json"


@dataclass(frozen=True)
class Variation:
    """How much subjects differ. Lengths are in voxels of the cube of 2 mm.

    Attributes:
        turn: greatest angle about each axis, degrees.
        scale: of the sampling grid, from and to; above 1 the head becomes smaller.
        stretch: greatest further change of the scale of each axis alone.
        shift: greatest shift along each axis.
        sigma: width of the smooth displacement, from and to.
        reach: its greatest length, from and to.
        gamma: exponent of the intensities, from and to.
        bias: greatest relative change by the bias field.
    """

    turn: float = 5
    scale: tuple[float, float] = (0.95, 1.05)
    stretch: float = 0
    shift: float = 0
    sigma: tuple[float, float] = (8, 12)
    reach: tuple[float, float] = (2, 4)
    gamma: tuple[float, float] = (0.8, 1.25)
    bias: float = 0.1


EASY = "easy"
HARD = "hard"
DIFFICULTIES = {
    EASY: Variation(),
    HARD: Variation(12, (0.95, 1.1), 0.05, 4, (10, 14), (4, 8), (0.8, 1.25), 0.15),
}


@dataclass(frozen=True)
class DemoSet:
    """A set of subjects.

    Attributes:
        count: subjects, the last `test` of them for testing.
        test: how many. Easy ones are fold 0 too, the fold that trainings validate on; of hard ones no training sees
            anything, and fold 0 is every eighth of the others.
        side: voxels per side, 64 means 4 mm.
        seed: of all draws.
        difficulty: `easy` or `hard`.
    """

    count: int = 20
    test: int = 4
    side: int = 64
    seed: int = 0
    difficulty: str = EASY

    def stored(self) -> dict[str, int | str]:
        """As the folder's record; earlier versions knew no difficulty."""
        return {key: value for key, value in asdict(self).items() if (key, value) != ("difficulty", EASY)}


def ensure_subjects(folder: Path, demo: DemoSet) -> None:
    """Make the set unless the folder holds it: volumes, slices along each axis, folds, synthetic anomalies, masks.

    Raises:
        InputError: the folder holds another set, or the difficulty is unknown.
    """
    if demo.difficulty not in DIFFICULTIES:
        raise unknown("difficulty of the subjects", demo.difficulty, DIFFICULTIES)
    record = folder / RECORD
    if record.is_file():
        held = read_json(record)
        if held != demo.stored():
            raise InputError(f"{folder} holds other subjects ({held}), not {demo.stored()}. Choose another.")
        return
    print(f"making {demo.count} subjects from the MNI152 template in {folder} …", flush=True)
    from mood_dpa.data.prepare import make_synthetic, save_2d

    volumes, hard = folder / "volumes", demo.difficulty == HARD
    template, affine = mni152(demo.side)
    healthy = demo.count - demo.test
    for number in range(demo.count):
        draws = np.random.default_rng((demo.seed, number))
        data = make_subject(template, draws, DIFFICULTIES[demo.difficulty])
        name = f"{number:05d}.nii.gz"
        if hard and number >= healthy:
            _write_test_pair(folder, name, data, affine, draws, KINDS[(number - healthy) % len(KINDS)])
        else:
            write_volume(volumes / name, data, affine)
    paths = list_volumes(volumes)
    if hard:
        rows = [(path.name, int(number % VALIDATED > 0)) for number, path in enumerate(paths)]
    else:
        rows = [(path.name, int(number < healthy)) for number, path in enumerate(paths)]
    write_text(folder / "folds.csv", folds_text(sorted(rows, key=lambda row: row[1])))
    outputs = {axis: folder / f"2d_axis_{axis}" for axis in range(3)}
    save_2d(paths, outputs, least_pixels=max(1, demo.side**2 // 16), packed=True)
    if not hard:
        make_synthetic(paths[healthy:], folder / "test_images", folder / "test_masks", demo.seed)
    write_text(record, json.dumps(demo.stored()) + "\n")


def _write_test_pair(
    folder: Path,
    name: str,
    data: npt.NDArray[np.float32],
    affine: npt.NDArray[np.float64],
    draws: np.random.Generator,
    kind: str,
) -> None:
    """A test subject, and the same with an anomaly as `<case>_<kind>.nii.gz`."""
    anomaly = add_subtle_anomaly(data, draws, kind)
    ill = name.replace(".", f"_{kind}.", 1)
    for file, image, mask in ((name, data, np.zeros_like(anomaly.mask)), (ill, anomaly.image, anomaly.mask)):
        write_volume(folder / "test_images" / file, image, affine)
        write_volume(folder / "test_masks" / file, mask, affine)


def mni152(side: int = CUBE) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """The template in [0, 1] in a cube, 0 outside the head, and its affine.

    Args:
        side: voxels per side; 128 are 2 mm each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nilearn.datasets import load_mni152_template

        image = load_mni152_template(resolution=TEMPLATE_MM)
    data = np.asarray(image.dataobj, dtype=np.float32)
    data[data < THRESHOLD] = 0
    before = [(CUBE - n) // 2 for n in data.shape]
    pad = [(b, CUBE - n - b) for b, n in zip(before, data.shape, strict=True)]
    cube = np.pad(data, pad)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] -= affine[:3, :3] @ np.array(before)
    if side == CUBE:
        return cube, affine
    from scipy.ndimage import gaussian_filter, zoom

    factor = CUBE / side
    small = zoom(gaussian_filter(cube, factor / 4), 1 / factor, order=1, grid_mode=True, mode="grid-constant")
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (factor - 1) / 2)
    affine[:3, :3] *= factor
    small[small < THRESHOLD] = 0
    return np.ascontiguousarray(np.clip(small, 0, 1), dtype=np.float32), affine


def make_subject(
    template: npt.NDArray[np.float32], draws: np.random.Generator, variation: Variation = DIFFICULTIES[EASY]
) -> npt.NDArray[np.float32]:
    """One subject: smooth displacement, turn, scale, shift, gamma, bias field, noise; 0 outside.

    Args:
        template: cube in [0, 1].
        draws: decides everything.
        variation: how much of each.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates
    from scipy.spatial.transform import Rotation

    side = template.shape[0]
    unit = side / CUBE
    angles = draws.uniform(-variation.turn, variation.turn, 3)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * draws.uniform(*variation.scale)
    centre = np.full(3, (side - 1) / 2)
    if variation.stretch:
        turn = turn * (1 + draws.uniform(-variation.stretch, variation.stretch, 3))[:, None]
    if variation.shift:
        centre = centre + draws.uniform(-variation.shift, variation.shift, 3) * unit
    grid = np.stack(np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 3, indexing="ij")).reshape(3, -1)
    where = (turn @ grid).reshape(3, *template.shape) + centre[:, None, None, None]
    sigma, reach = draws.uniform(*variation.sigma) * unit, draws.uniform(*variation.reach) * unit
    for axis in range(3):
        bend = gaussian_filter(draws.standard_normal(template.shape).astype(np.float32), sigma, mode="wrap")
        where[axis] += bend * (reach / max(float(np.abs(bend).max()), 1e-12))
    subject = map_coordinates(template, where.astype(np.float32), order=1, mode="constant", cval=0.0)
    inside = subject > THRESHOLD
    subject = subject ** draws.uniform(*variation.gamma)
    bias = gaussian_filter(draws.standard_normal(template.shape).astype(np.float32), 24 * unit, mode="wrap")
    subject *= 1 + variation.bias * bias / max(float(np.abs(bias).max()), 1e-12)
    subject += draws.normal(0, NOISE, template.shape)
    return np.where(inside, np.clip(subject, 0, 1), 0).astype(np.float32)

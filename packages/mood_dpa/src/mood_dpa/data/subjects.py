"""Embedded subjects: the MNI152 template, bent, turned, scaled and toned by random but repeatable amounts.

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
from mood_dpa.data.volumes import list_volumes, write_volume
from mood_dpa.standalone import InputError, write_text

TEMPLATE_MM = 2
CUBE = 128  # voxels per side of the template's cube, 2 mm each
THRESHOLD = 0.02  # below it the resampled template is background
RECORD = "subjects.json"


@dataclass(frozen=True)
class DemoSet:
    """A set of subjects.

    Attributes:
        count: subjects; the last `test` of them are fold 0, the test fold.
        side: voxels per side, 64 means 4 mm.
        seed: of all draws.
    """

    count: int = 20
    test: int = 4
    side: int = 64
    seed: int = 0


def ensure_subjects(folder: Path, demo: DemoSet) -> None:
    """Make the set unless the folder holds it: volumes, slices along each axis, folds, synthetic anomalies, masks.

    Raises:
        InputError: the folder holds another set.
    """
    record = folder / RECORD
    if record.is_file():
        held = read_json(record)
        if held != asdict(demo):
            raise InputError(f"{folder} holds other subjects ({held}), not {asdict(demo)}. Choose another.")
        return
    print(f"making {demo.count} subjects from the MNI152 template in {folder} …", flush=True)
    from mood_dpa.data.prepare import make_synthetic, save_2d

    volumes = folder / "volumes"
    template, affine = mni152(demo.side)
    for number in range(demo.count):
        data = make_subject(template, np.random.default_rng((demo.seed, number)))
        write_volume(volumes / f"{number:05d}.nii.gz", data, affine)
    paths = list_volumes(volumes)
    healthy = demo.count - demo.test
    rows = [(path.name, int(number < healthy)) for number, path in enumerate(paths)]
    write_text(folder / "folds.csv", folds_text(sorted(rows, key=lambda row: row[1])))
    outputs = {axis: folder / f"2d_axis_{axis}" for axis in range(3)}
    save_2d(paths, outputs, least_pixels=max(1, demo.side**2 // 16), packed=True)
    make_synthetic(paths[healthy:], folder / "test_images", folder / "test_masks", demo.seed)
    write_text(record, json.dumps(asdict(demo)) + "\n")


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


def make_subject(template: npt.NDArray[np.float32], draws: np.random.Generator) -> npt.NDArray[np.float32]:
    """One subject: smooth displacement, turn up to 5 degrees, scale up to 5 %, gamma, bias field, noise; 0 outside.

    Args:
        template: cube in [0, 1].
        draws: decides everything.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates
    from scipy.spatial.transform import Rotation

    side = template.shape[0]
    unit = side / CUBE
    turn = Rotation.from_euler("xyz", draws.uniform(-5, 5, 3), degrees=True).as_matrix() * draws.uniform(0.95, 1.05)
    centre = (side - 1) / 2
    grid = np.stack(np.meshgrid(*[np.arange(side) - centre] * 3, indexing="ij")).reshape(3, -1)
    where = (turn @ grid).reshape(3, *template.shape) + centre
    sigma, reach = draws.uniform(8, 12) * unit, draws.uniform(2, 4) * unit
    for axis in range(3):
        bend = gaussian_filter(draws.standard_normal(template.shape).astype(np.float32), sigma, mode="wrap")
        where[axis] += bend * (reach / max(float(np.abs(bend).max()), 1e-12))
    subject = map_coordinates(template, where.astype(np.float32), order=1, mode="constant", cval=0.0)
    inside = subject > THRESHOLD
    subject = subject ** draws.uniform(0.8, 1.25)
    bias = gaussian_filter(draws.standard_normal(template.shape).astype(np.float32), 24 * unit, mode="wrap")
    subject *= 1 + 0.1 * bias / max(float(np.abs(bias).max()), 1e-12)
    subject += draws.normal(0, 0.01, template.shape)
    return np.where(inside, np.clip(subject, 0, 1), 0).astype(np.float32)

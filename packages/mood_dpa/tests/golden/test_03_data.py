"""transforms, folds, dataset_selection, shipped_folds, synthetic, metrics, config_merge."""

import math
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mood_dpa.challenge import bootstrap_score, joint_score, read_pixel_pair, read_sample_pair
from mood_dpa.data.anomalies import add_anomaly_2d, add_anomaly_3d, centre_and_radius, ellipsoid
from mood_dpa.data.folds import cases_of, folds_text, make_folds, read_folds
from mood_dpa.data.preprocessing import area_resize, normalise, prepare_array
from mood_dpa.data.volumes import case_id, write_volume
from mood_dpa.ranking import rank_metrics
from ood_shared.testing.golden import Golden, check_each, stems

from .conftest import GOLDEN

TRANSFORMS, SYNTHETIC = GOLDEN.json("transforms"), GOLDEN.json("synthetic")
METRICS = [entry for entry in GOLDEN.json("metrics") if "name" in entry]
CHALLENGE = next((entry["challenge"] for entry in GOLDEN.json("metrics") if "challenge" in entry), None)
FOLDS = Path(__file__).parents[2] / "folds"


@pytest.mark.parametrize("entry", TRANSFORMS, ids=lambda e: str(e["id"]))
def test_transforms_agree(entry: dict, golden: Golden) -> None:
    arrays = golden.npz("transforms")
    image, want = arrays[f"in/{entry['image']}"], arrays[f"out/{entry['id']}"]
    channels3 = entry.get("channels3", False)
    if image.ndim == 3 or entry.get("three_d"):
        found = torch.from_numpy(image.astype(np.float32))[None, None]
        if entry["resize"] is not None:
            found = area_resize(found, [entry["resize"]] * 3)
        found = (normalise(found) if entry["normalize"] else found)[0]
    else:
        found = prepare_array(image, entry["resize"], entry["normalize"], channels3)
    np.testing.assert_allclose(found, want, rtol=0, atol=2 / 255 if channels3 else 2e-6)


@pytest.mark.parametrize("number", range(len(GOLDEN.json("folds"))))
def test_folds_of_a_seed_are_the_published_ones(number: int, golden: Golden) -> None:
    case = golden.json("folds")[number]
    volumes = [name for name in case["listing"] if name.endswith(".gz")]
    rows = make_folds(volumes, case["n_folds"], np.random.RandomState(case["numpy_seed"]))
    assert folds_text(rows) == case["csv"]


@pytest.mark.parametrize("name", GOLDEN.json("dataset_selection").get("sel", {}))
def test_selection_agrees(name: str, golden: Golden, tmp_path: Path) -> None:
    case = golden.json("dataset_selection")
    (tmp_path / "folds.csv").write_text(case["folds"])
    rows = read_folds(tmp_path / "folds.csv")
    split, fold = name.removeprefix("nifti_").split("_")
    suffix = ".nii.gz" if name.startswith("nifti_") else ".npy"
    wanted = cases_of(rows, split, int(fold))
    assert sorted(n for n in case["names"] if n.endswith(suffix) and case_id(n) in wanted) == case["sel"][name]


@pytest.mark.parametrize("part", stems(GOLDEN.npz("shipped_folds"), "*/case_number", "*/test_fold"))
def test_shipped_folds_are_the_published_ones(part: str, golden: Golden) -> None:
    arrays = golden.npz("shipped_folds")
    rows = read_folds(FOLDS / part / "train_folds_10.csv")
    found = {"case_number": [int(name.split(".")[0]) for name, _ in rows], "test_fold": [fold for _, fold in rows]}
    check_each(arrays, {f"{part}/{key}": values for key, values in found.items()}, np.testing.assert_array_equal)
    assert {len(name) for name, _ in rows} == {len("00000.nii.gz")}


@pytest.mark.parametrize("entry", [e for e in SYNTHETIC if e["kind"] == "ellipsoid"], ids=lambda e: str(e["id"]))
def test_ellipsoids_agree(entry: dict, golden: Golden) -> None:
    packed = golden.npz("synthetic")[f"ellipsoid/{entry['id']}"]
    size = math.prod(entry["shape"])
    want = np.unpackbits(packed)[:size].reshape(entry["shape"]).astype(bool)
    angles = np.deg2rad(entry["angles_deg"]).tolist()
    found = ellipsoid(tuple(entry["shape"]), entry["center"], entry["radii"], angles)
    assert want.sum() == entry["voxels"]
    assert (found != want).sum() <= 2


@pytest.mark.parametrize("entry", [e for e in SYNTHETIC if e["kind"] == "anomaly_3d"], ids=lambda e: str(e["id"]))
def test_anomalies_of_a_seed_agree(entry: dict, golden: Golden) -> None:
    arrays, prefix = golden.npz("synthetic"), f"vol/{entry['id']}"
    found = add_anomaly_3d(arrays[f"{prefix}/in"], np.random.RandomState(entry["numpy_seed"]), "reference")
    check_each(arrays, {f"{prefix}/mask": found.mask, f"{prefix}/image": found.image}, near_shape)


def near_shape(found: np.ndarray, want: np.ndarray) -> None:
    """A mask but for two voxels at its border, or an image."""
    if want.dtype.kind == "f":
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)
    else:
        assert (found != want).sum() <= 2


@pytest.mark.parametrize("entry", [e for e in SYNTHETIC if e["kind"] == "anomaly_3d"], ids=lambda e: str(e["id"]))
def test_calls_of_the_rasteriser_agree(entry: dict, golden: Golden) -> None:
    image = golden.npz("synthetic")[f"vol/{entry['id']}/in"]
    found = add_anomaly_3d(image, np.random.RandomState(entry["numpy_seed"]), "reference")

    def near(ours: list, theirs: list) -> None:
        for call, want in zip(ours, theirs, strict=True):
            check_each(want, {key: call[key] for key in ("centers", "radii", "angles")}, close)

    numbers = {"count": len(found.calls), "mask_voxels": int((found.mask > 0).sum())}
    check_each(entry, numbers, lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=2))
    check_each(entry, {"calls": found.calls}, near)


close = partial(np.testing.assert_allclose, rtol=1e-9)


@pytest.mark.parametrize("entry", [e for e in SYNTHETIC if e["kind"].startswith("center")], ids=lambda e: e["kind"])
def test_centres_and_radii_agree(entry: dict, golden: Golden) -> None:
    arrays = golden.npz("synthetic")
    if entry["kind"].endswith("3d"):
        (h, w, c), r = centre_and_radius(arrays[f"vol/{entry['id']}/in"])
        found = {"h": h, "w": w, "c": c, "r": r}
    else:
        (w, h), r = centre_and_radius(arrays["img2d/in"])
        found = {"h": h, "w": w, "r": r}
    check_each(entry, found, close)


@pytest.mark.parametrize("entry", [e for e in SYNTHETIC if e["kind"] in ("circle", "ellipse")], ids=lambda e: e["kind"])
def test_shapes_on_slices_agree(entry: dict, golden: Golden) -> None:
    arrays, prefix = golden.npz("synthetic"), f"img2d/{entry['kind']}"
    found = add_anomaly_2d(arrays["img2d/in"], np.random.RandomState(entry["numpy_seed"]), entry["kind"])
    check_each(arrays, {f"{prefix}/mask": found.mask, f"{prefix}/image": found.image}, near_shape)


@pytest.mark.parametrize("entry", METRICS, ids=lambda e: e["name"])
def test_metrics_agree(entry: dict, golden: Golden) -> None:
    arrays = golden.npz("metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rank_metrics(arrays[f"{entry['name']}/y"], arrays[f"{entry['name']}/s"])

    def near(value: float, want: float | str) -> None:
        assert value == pytest.approx(float(want), rel=1e-9, nan_ok=True)

    check_each(entry, {"AP": found.ap, "AUROC": found.auroc}, near)


def test_challenge_evaluation_agrees(golden: Golden, tmp_path: Path) -> None:
    arrays = golden.npz("metrics")
    want = CHALLENGE
    if want is None:
        pytest.skip("metrics.json has no `challenge`")
    numbers = sorted({key.rsplit("/", 1)[1] for key in arrays if key.startswith("challenge/")}, key=int)
    for kind in ("label", "pred"):
        for number in numbers:
            # a prediction is left out where that of the sample is, too
            if kind == "label" or want[f"sample_pred_{number}"] is not None:
                volume = arrays[f"challenge/{kind}/{number}"].astype(np.float32)
                write_volume(tmp_path / kind / f"{number}.nii.gz", volume, np.eye(4))
    pixel = [read_pixel_pair(*(tmp_path / kind / f"{n}.nii.gz" for kind in ("label", "pred"))) for n in numbers]
    samples = []
    for n, (labels, _) in zip(numbers, pixel, strict=True):
        (tmp_path / "label" / f"{n}.txt").write_text(f"{int(labels.any())}\n")
        if want[f"sample_pred_{n}"] is not None:
            (tmp_path / "pred" / f"{n}.txt").write_text(f"{want[f'sample_pred_{n}']}\n")
        samples.append(read_sample_pair(*(tmp_path / kind / f"{n}.txt" for kind in ("label", "pred"))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "pixel_eval_dir": joint_score(pixel),
            "sample_eval_dir": joint_score(samples),
            "bootstrap_dir_default_seed123_runs10_files2": bootstrap_score(pixel),
        }
        by_file = {n: joint_score([pair]) for n, pair in zip(numbers, pixel, strict=True)}
    near = partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-12)
    check_each(
        want,
        found | {"pixel_per_file": by_file},
        lambda ours, theirs: check_each(theirs, ours, near) if isinstance(ours, dict) else near(ours, theirs),
    )

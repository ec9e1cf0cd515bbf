"""A run folder that an earlier version wrote and left in the middle of a stage is resumed and scored."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from ood_shared.runs import read_metrics
from ood_shared.testing import commands

OLD = Path(__file__).parents[1] / "old_runs"
RUN = Path("output/checkpoints")
LOG = Path("output/logs")
TRAIN = ("train", "train.yaml", "--device", "cpu", "--resume")
TEST = ("inference_evaluate_3d", "inference.yaml", "--device", "cpu", "--no-pictures")
SIDE = 24


def dataset(kind: str, split: str, **folders: str) -> dict[str, Any]:
    words = {**folders, "folds_path": "folds.csv", "fold": 0, "split": split}
    return {"dataset_type": kind, "dataset_kwargs": words, "transform_kwargs": {"resize": 16}}


def loss(**more: Any) -> dict[str, Any]:
    weights = {size: {"img_weight": 0, "feature_weights": {"r12": 1}} for size in (8, 16)}
    return {"loss_type": "relative_perceptual_L1", "loss_kwargs": {"weights_per_resolution": weights, **more}}


TRAIN_CONFIG = {
    **{"model_type": "dpa", "random_seed": 3, "verbose": True, "finetune_from": None, "num_workers": 0},
    **{"checkpoint_root": str(RUN), "log_root": str(LOG), "image_dim": 1, "latent_res": 1, "latent_dim": 8},
    **{"max_image_res": 16, "initial_image_res": 8, "trns_iter": 8, "stab_iter": 12, "iters_per_res": {}},
    **{"log_iter": 4, "val_iter": 4, "image_sample_iter": 100, "batch_sizes": {8: 8, 16: 8}},
    **{"early_stopping_patience": 100, "early_stopping_min_delta": 0.0, "adam_kwargs": {"lr": 0.002}},
    **{name: {"type": "residual9", "kwargs": {"inner_dims": [8, 8, 8]}} for name in ("enc", "dec")},
    "train_dataset": dataset("numpy2d", "train", image_root="slices"),
    "val_dataset": dataset("numpy2d", "val", image_root="slices"),
    "image_rec_loss": loss(path_to_vgg19_weights=None, normalize_to_vgg_input=False, use_smooth_pg=False),
}
TEST_CONFIG = {
    **{"model_type": "dpa", "verbose": False, "results_root": "output/results", "save_inference": True},
    **{"test_model_path": str(RUN / "anomaly_detection.tar"), "apply_along_axis": 0, "score_reduction": "max"},
    **{"do_not_process_small_area": True, "small_area": 20, "delete_zero_area": False},
    "test_dataset": dataset("nifti3d", "val", image_root="images", mask_root="masks"),
    "test_image_rec_loss": loss(
        mode_3d=True, path_to_vgg19_weights=None, normalize_to_vgg_input=False, use_smooth_pg=False
    ),
}


def write_data(folder: Path) -> None:
    """Boxes, and the same with a bright cube. Multiples of 1/256, so that they are the same everywhere."""
    draws = np.random.default_rng(0)

    def write(path: Path, values: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), path)

    for number in range(8):
        low, high = draws.integers(1, 5), SIDE - draws.integers(1, 5)
        volume = draws.integers(5, 20, (SIDE, SIDE, SIDE))
        volume[low:high, low:high, low:high] = 100 + draws.integers(0, 30, (high - low,) * 3)
        middle = draws.integers(8, 13)
        volume[middle : middle + 4, 6:18, middle : middle + 6] = 180
        write(folder / f"volumes/{number:05d}.nii.gz", volume / 256)
        write(folder / f"images/{number:05d}.nii.gz", volume / 256)
        write(folder / f"masks/{number:05d}.nii.gz", np.zeros_like(volume))
        cube = tuple(slice(at, at + 5) for at in draws.integers(5, 14, 3))
        volume[cube], mask = 250, np.zeros_like(volume)
        mask[cube] = 1
        write(folder / f"images/{number:05d}_anom.nii.gz", volume / 256)
        write(folder / f"masks/{number:05d}_anom.nii.gz", mask)
    rows = [f"{number:05d}.nii.gz,{0 if number < 4 else 1}" for number in range(8)]
    (folder / "folds.csv").write_text("\n".join(["filename,test_fold", *rows]) + "\n")
    commands.printed_by("mood_dpa", folder, "save-2d", "-i", "volumes", "-o", "slices", "-a", "0")
    for name, config in (("train", TRAIN_CONFIG), ("inference", TEST_CONFIG)):
        text = re.sub(r'"(8|16)":', r"\1:", json.dumps(config, indent=1))
        (folder / f"{name}.yaml").write_text(text + "\n")


def without_numbers(printed: str) -> list[str]:
    return re.sub(r"\d+([./:]\d+)*", "#", printed).splitlines()


def scored(folder: Path) -> dict[str, Any]:
    """What the inference prints, and numbers of what it writes."""
    printed = commands.printed_by("mood_dpa", folder, *TEST)
    at = folder / "output/results"
    maps = [nibabel.load(path).get_fdata().ravel() for path in sorted((at / "pixel").iterdir())]
    return {
        "lines": without_numbers(printed),
        "ranks": [float(cell) for cell in re.findall(r"\d\.\d+", (at / "scores.csv").read_text())],
        "samples": {path.name: float(path.read_text()) for path in sorted((at / "sample").iterdir())},
        "voxels": [float(values[6000]) for values in maps],
    }


def unpack(folder: Path) -> None:
    shutil.unpack_archive(OLD / "output.tar.xz", folder, filter="data")


def observe(folder: Path) -> dict[str, Any]:
    """The old folder as it is, by its best model, and after it was resumed."""
    write_data(folder)
    unpack(folder)
    stopped, before = scored(folder), read_metrics(folder / LOG)
    printed = commands.printed_by("mood_dpa", folder, *TRAIN)
    return {
        "stopped": stopped,
        "before": before,
        "lines": without_numbers(printed),
        "iterations": re.findall(r"iteration (\d+)", printed),
        "records": read_metrics(folder / LOG),
        "finished": scored(folder),
    }


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return json.loads(json.dumps(observe(tmp_path_factory.mktemp("old"))))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((OLD / "expected.json").read_text())


def test_the_old_folder_was_left_in_the_middle_of_a_stage(tmp_path: Path) -> None:
    unpack(tmp_path)
    state = torch.load(tmp_path / RUN / "resume.tar")
    assert (state["stage"], state["resolution"], state["run"]["k"], state["run"]["n_iter"]) == ("stab", 16, 5, 25)


def test_it_goes_on_where_it_was(observed: dict[str, Any], expected: dict[str, Any]) -> None:
    """In the last stage, after 25 of 32 iterations (every 4th is printed); the rows of the first 24 stay."""
    assert observed["iterations"] == expected["iterations"] == ["28", "32"]
    assert observed["lines"] == expected["lines"]
    assert observed["records"][: len(observed["before"])] == observed["before"]
    assert observed["before"][-1]["epoch"] == 24


def test_its_losses_are_those_of_the_version_that_began_it(observed: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal on the machine that wrote it; sums in another order differ in the 7th digit, and grow over 7 steps."""
    for row, wanted in zip(observed["records"], expected["records"], strict=True):
        assert row == pytest.approx(wanted, rel=1e-3), row["epoch"]


@pytest.mark.parametrize("at", ["stopped", "finished"])
def test_its_scores_are_those_of_the_version_that_began_it(
    observed: dict[str, Any], expected: dict[str, Any], at: str
) -> None:
    found, wanted = observed[at], expected[at]
    assert found["lines"] == wanted["lines"]
    assert found["ranks"] == pytest.approx(wanted["ranks"], abs=0.02)
    assert found["samples"] == pytest.approx(wanted["samples"], rel=1e-3)
    assert found["voxels"] == pytest.approx(wanted["voxels"], rel=1e-3)

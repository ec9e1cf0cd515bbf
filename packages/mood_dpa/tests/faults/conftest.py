"""Volumes outside [0, 1], models of other trainings, and words of every command."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from mood_dpa import bench
from mood_dpa.checkpoints import build_families
from mood_dpa.config_files import write_config
from mood_dpa.data.record import Origin

from ..conftest import AFFINE, predict_config, small_inference_config, small_train_config

SMALL = bench.Schedule(64, 32, 0, 3, 4, 4, "r11", 1e-3, 8, 4)


def hounsfield() -> np.ndarray:
    """The recipe of a ball in air, in Hounsfield units."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij"))
    return (((grid**2).sum(0) < 0.64) * 2100 - 1000).astype(np.int16)


def write_ct(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        nibabel.save(nibabel.Nifti1Image(np.roll(hounsfield(), number, 0), AFFINE), folder / f"{number:05d}.nii.gz")
    return folder


def as_trained_by(path: Path, at: Path, **origin: Any) -> Path:
    """The models of a prediction, as of a training with this record."""
    for axis in range(3):
        state = torch.load(at / f"model_{axis}.tar", weights_only=True)
        torch.save({**state, "volumes": Origin(**origin).stored()}, at / f"model_{axis}.tar")
    return path


def of_volumes(model: Path, path: Path) -> None:
    """A model of another's shape whose networks take volumes as a whole."""
    state = torch.load(model, weights_only=True)
    config = {**state["config"], "mode_3d": True}
    nets = zip(("enc", "dec"), build_families(config), strict=True)
    parts = {name: family.net(state["stage"], state["resolution"]).state_dict() for name, family in nets}
    torch.save({**state, **parts, "config": config}, path)


def words(command: str, path: object, at: Path) -> list[object]:
    """A command with a configuration, on the volumes of `in` where it takes some."""
    if command == "predict-3d":
        return [command, "-i", at / "in", "-o", at / "out", "-c", path, "--device", "cpu"]
    return [command, path, "--device", "cpu"]


@pytest.fixture
def entrances(prepared: Path, tmp_path: Path) -> dict[str, list[object]]:
    """Every command that takes volumes, on `in`."""
    folder = tmp_path / "in"
    config = small_inference_config(prepared, results_root=str(tmp_path / "out"))
    config["test_dataset"]["dataset_kwargs"] |= {"image_root": str(folder), "mask_root": str(prepared / "masks")}
    write_config(tmp_path / "inference.yaml", config)
    train = small_train_config(prepared, checkpoint_root=str(tmp_path / "out"), log_root=str(tmp_path / "out"))
    train |= {"mode_3d": True, "num_workers": 0}
    for part in ("train_dataset", "val_dataset"):
        train[part]["dataset_type"] = "nifti3d"
        train[part]["dataset_kwargs"] |= {"image_root": str(folder)}
    write_config(tmp_path / "train.yaml", train)
    evaluation = {
        **{"verbose": False, "test_batch_size": 2, "results_root": str(tmp_path / "out"), "save_inference": False},
        **{"score_reduction": "max", "test_dataset": config["test_dataset"]},
        "test_model_path": str(tmp_path / "model_3d.tar"),
    }
    write_config(tmp_path / "evaluate.yaml", evaluation)
    predict = predict_config(prepared, tmp_path)
    of_volumes(tmp_path / "model_0.tar", tmp_path / "model_3d.tar")
    return {
        "save-2d": ["-i", folder, "-o", tmp_path / "out", "-a", 0],
        "synthetic": ["-i", folder, "-o", tmp_path / "out", "-m", tmp_path / "out2"],
        "predict-3d": ["-i", folder, "-o", tmp_path / "out", "-c", predict, "--device", "cpu"],
        "inference_evaluate_3d": [tmp_path / "inference.yaml", "--device", "cpu", "--no-pictures"],
        "evaluate": [tmp_path / "evaluate.yaml", "--device", "cpu"],
        "train": [tmp_path / "train.yaml", "--device", "cpu"],
        "bench": ["--id", folder, "--ood", "synthetic", "--device", "cpu", "--output-dir", tmp_path / "out"],
    }

"""Small volumes, small configurations, and ways to run the commands on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mood_dpa import cli
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.folds import folds_text
from mood_dpa.data.volumes import write_volume
from ood_shared.files import write_text
from ood_shared.testing import commands
from ood_shared.testing.commands import Outcome
from ood_shared.testing.pictures import blank_pictures, drawn  # noqa: F401

PACKAGE = Path(__file__).parents[1]
SIDE, RES = 24, 8
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0, 3.0, -20], [0, 2.5, 0, 5], [0, 0, 0, 1]])


def phantom(seed: int, side: int = SIDE) -> np.ndarray:
    """Nested ellipsoids in [0, 1], a little different for each seed."""
    draws = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij"))
    found = np.zeros((side,) * 3, np.float32)
    for value, size in ((0.9, 0.85), (0.5, 0.7), (0.8, 0.35)):
        radii = size * (1 + draws.uniform(-0.1, 0.1, 3))
        found[((grid / radii[:, None, None, None]) ** 2).sum(0) < 1] = value
    return np.clip(found + (found > 0) * draws.normal(0, 0.02, found.shape), 0, 1).astype(np.float32)


def write_phantoms(folder: Path, count: int, affine: np.ndarray = AFFINE) -> Path:
    for number in range(count):
        write_volume(folder / f"{number:05d}.nii.gz", phantom(number), affine)
    return folder


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """`run("train", "config.yaml")`: a command in this process."""

    def call(*argv: object) -> Outcome:
        return commands.call(cli.main, *map(str, argv))

    return call


@pytest.fixture
def done() -> Callable[..., Outcome]:
    """As `run`, for a command that must succeed."""

    def call(*argv: object) -> Outcome:
        return commands.succeed(cli.main, *map(str, argv))

    return call


def script(name: str, *argv: object, cwd: Path) -> Outcome:
    """A script of the package as a process of its own."""
    return commands.finish(commands.start([str(PACKAGE / name), *map(str, argv)], cwd))


@pytest.fixture(scope="session")
def run_script() -> Callable[..., Outcome]:
    return script


def small_train_config(at: Path, axis: int = 0, **changes: Any) -> dict[str, Any]:
    """A training configuration of a few steps with the plain L1 loss."""
    config = read_config(PACKAGE / "configs" / "embedded" / "axis_0" / "train_config.yaml")
    config |= {
        **{"checkpoint_root": str(at / f"axis_{axis}/checkpoints"), "log_root": str(at / f"axis_{axis}/logs")},
        **{"max_image_res": RES, "initial_image_res": 4, "latent_dim": 4, "trns_iter": 2, "stab_iter": 3},
        **{"iters_per_res": {}, "log_iter": 2, "val_iter": 2, "image_sample_iter": 3, "verbose": False},
        **{"batch_sizes": {4: 4, RES: 4}, "early_stopping_patience": 100, "random_seed": 3},
        **{side: {"type": "residual9", "kwargs": {"inner_dims": [4, 4]}} for side in ("enc", "dec")},
        **{"image_rec_loss": {"loss_type": "l1", "loss_kwargs": {}}},
    }
    for part in ("train", "val"):
        config[f"{part}_dataset"] = {
            "dataset_type": "numpy2d",
            "dataset_kwargs": {
                **{"image_root": str(at / f"2d_axis_{axis}"), "folds_path": str(at / "folds.csv")},
                **{"fold": 0, "split": part},
            },
            "transform_kwargs": {"resize": RES},
        }
    return config | changes


def small_inference_config(at: Path, axis: int = 0, **changes: Any) -> dict[str, Any]:
    """Inference on the synthetic set, with the image alone as the perceptual loss's term."""
    weights = {RES: {"img_weight": 1, "feature_weights": {}}}
    return {
        **{"model_type": "dpa", "verbose": False, "results_root": str(at / f"axis_{axis}/results")},
        "test_model_path": str(at / f"axis_{axis}/checkpoints/anomaly_detection.tar"),
        **{"save_inference": True, "apply_along_axis": axis, "score_reduction": "max"},
        **{"do_not_process_small_area": True, "small_area": 20, "delete_zero_area": False},
        "test_dataset": {
            "dataset_type": "nifti3d",
            "dataset_kwargs": {
                **{"image_root": str(at / "images"), "mask_root": str(at / "masks"), "fold": 0, "split": "val"},
                "folds_path": str(at / "folds.csv"),
            },
            "transform_kwargs": {"resize": RES},
        },
        "test_image_rec_loss": {
            "loss_type": "relative_perceptual_L1",
            "loss_kwargs": {"mode_3d": True, "weights_per_resolution": weights},
        },
        **changes,
    }


def predict_config(prepared: Path, at: Path) -> Path:
    """A configuration for `predict-3d`, of three models in `at` that score by the image alone."""
    weights = {8: {"img_weight": 1, "feature_weights": {}}}
    models = []
    for axis in range(3):
        state = torch.load(prepared / f"axis_{axis}" / "checkpoints" / "anomaly_detection.tar", weights_only=True)
        kwargs = {"weights_per_resolution": weights, "normalize_vgg_input": False}
        state["config"]["image_rec_loss"] = {"loss_type": "relative_perceptual_L1", "loss_kwargs": kwargs}
        torch.save(state, at / f"model_{axis}.tar")
        models.append({"checkpoint_path": str(at / f"model_{axis}.tar"), "along_axis": axis, "resize": 8})
    config = {"do_not_process_small_area": True, "small_area": 20, "delete_zero_area": False, "resize": 12}
    write_config(at / "predict.yaml", {**config, "path_to_vgg19_weights": None, "models": models})
    return at / "predict.yaml"


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes, slices of three axes, folds, the synthetic set, a trained model per axis."""
    at = tmp_path_factory.mktemp("prepared")
    write_phantoms(at / "volumes", 4)
    write_text(at / "folds.csv", folds_text([(f"{n:05d}.nii.gz", int(n > 1)) for n in range(4)]))
    for axis in range(3):
        assert cli.main(["save-2d", "-i", str(at / "volumes"), "-o", str(at / f"2d_axis_{axis}"), "-a", str(axis)]) == 0
    words = ["-i", at / "volumes", "-o", at / "images", "-m", at / "masks", "--seed", 1]
    assert cli.main(["synthetic", *map(str, words)]) == 0
    for axis in range(3):
        write_config(at / f"train_{axis}.yaml", small_train_config(at, axis))
        assert cli.main(["train", str(at / f"train_{axis}.yaml"), "--device", "cpu"]) == 0
        write_config(at / f"inference_{axis}.yaml", small_inference_config(at, axis))
    return at


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Path:
    """The session's folder, for reading; results go to `tmp_path` by --output-dir."""
    return prepared_once


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)

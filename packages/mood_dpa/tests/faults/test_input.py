"""Broken volumes, configurations and files: a clear result or a clear error, and nothing finished is lost."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.configuration import read_config, write_config
from mood_dpa.data.prepare import _link
from mood_dpa.data.volumes import write_volume

from ..conftest import AFFINE, phantom, small_inference_config, small_train_config, write_phantoms


def predict_config(prepared: Path, at: Path) -> Path:
    weights = {8: {"img_weight": 1, "feature_weights": {}}}
    import torch

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


def nifti(data: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def truncated(path: Path) -> None:
    nifti(np.random.default_rng(0).random((20, 20, 20), np.float32), path)
    path.write_bytes(path.read_bytes()[:4000])


def four_dimensions(path: Path) -> None:
    nifti(np.zeros((4, 4, 4, 2), np.float32), path)


def nan_voxels(path: Path) -> None:
    data = phantom(0)
    data[1, 2, 3] = np.nan
    nifti(data, path)


def wrong_code(path: Path) -> None:
    nifti(phantom(0), path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[254:256] = (77).to_bytes(2, "little")  # sform_code
    path.write_bytes(gzip.compress(bytes(content)))


def no_nifti(path: Path) -> None:
    path.write_bytes(gzip.compress(b"hello" * 200))


def flat_affine(path: Path) -> None:
    nifti(phantom(0), path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:296] = np.zeros(4, np.float32).tobytes()  # srow_x
    content[252:254] = (0).to_bytes(2, "little")
    path.write_bytes(gzip.compress(bytes(content)))


BROKEN = {
    truncated: "cut short",
    four_dimensions: "4 dimensions",
    nan_voxels: "1 voxels that are NaN or infinite, the first at (1, 2, 3)",
    wrong_code: "sform_code is 77",
    no_nifti: "cut short",
    flat_affine: "affine cannot be inverted",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_volume_is_named_and_the_others_are_finished(break_it, prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    break_it(folder / "00000.nii.gz")
    config = predict_config(prepared, tmp_path)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", config, "--device", "cpu")
    assert BROKEN[break_it] in found.err
    assert "00000.nii.gz" in found.error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00001.nii.gz"]


def test_inference_resumes_where_it_failed(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 3)
    truncated(folder / "00001.nii.gz")
    words = ["-i", folder, "-o", tmp_path / "out", "-c", predict_config(prepared, tmp_path), "--device", "cpu"]
    assert run("predict-3d", *words).status == 2
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    write_volume(folder / "00001.nii.gz", phantom(1), AFFINE)
    assert run("predict-3d", *words, "--resume").status == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert sorted(after) == ["00000.nii.gz", "00001.nii.gz", "00002.nii.gz"]
    assert all(after[name] == time for name, time in before.items())


def test_an_empty_volume_gets_a_map_of_zeros_and_score_0(prepared: Path, tmp_path: Path, run) -> None:
    write_volume(tmp_path / "in" / "00000.nii.gz", np.zeros((10, 12, 14), np.float32), AFFINE)
    config = predict_config(prepared, tmp_path)
    for mode in ("pixel", "sample"):
        words = ["-i", tmp_path / "in", "-o", tmp_path / mode, "-c", config, "-m", mode, "--device", "cpu"]
        assert run("predict-3d", *words).status == 0
    found = nibabel.load(tmp_path / "pixel" / "00000.nii.gz")
    assert found.shape == (10, 12, 14)
    assert not found.get_fdata().any()
    assert (tmp_path / "sample" / "00000.nii.gz.txt").read_text() == "0.0"


def test_an_interior_gap_is_scored_in_place(prepared: Path, tmp_path: Path, run) -> None:
    data = phantom(3)
    data[10:13] = 0
    write_volume(tmp_path / "in" / "00000.nii.gz", data, AFFINE)
    path = predict_config(prepared, tmp_path)
    config = read_config(path)
    write_config(path, {**config, "models": config["models"][:1], "resize": None})
    assert run("predict-3d", "-i", tmp_path / "in", "-o", tmp_path / "out", "-c", path, "--device", "cpu").status == 0
    found = nibabel.load(tmp_path / "out" / "00000.nii.gz").get_fdata()
    assert not found[10:13].any()
    assert found[8].any()
    assert found[14].any()


def test_stray_files_are_no_volumes(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 1)
    (folder / "notes.txt").write_text("hello")
    (folder / ".DS_Store").write_text("")
    config = predict_config(prepared, tmp_path)
    assert run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", config, "--device", "cpu").status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000.nii.gz"]


def test_a_missing_model_and_missing_features_are_named(prepared: Path, tmp_path: Path, run) -> None:
    path = predict_config(prepared, tmp_path)
    folder = write_phantoms(tmp_path / "in", 1)
    words = ["-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu"]
    config = read_config(path)
    write_config(path, {**config, "path_to_vgg19_weights": "/nowhere/vgg.tar"})
    assert "path_to_vgg19_weights /nowhere/vgg.tar is missing" in run("predict-3d", *words).error
    (tmp_path / "model_1.tar").unlink()
    assert "model_1.tar (axis 1) is missing" in run("predict-3d", *words).error


CHANGES = {
    "batch_sizess": ({"batch_sizess": {}}, "Did you mean `batch_sizes`?"),
    "missing": ({"log_iter": ...}, "the key `log_iter` is missing"),
    "model_type": ({"model_type": "gan"}, "only dpa is known"),
    "power": ({"max_image_res": 8, "initial_image_res": 3, "batch_sizes": {3: 1, 6: 1}}, "must be a power of 2"),
    "batch": ({"batch_sizes": {8: 4}}, "batch_sizes has no number for resolution 4"),
    "empty root": ({"checkpoint_root": None}, "`checkpoint_root` is empty"),
    "mode_3d": (
        {"image_rec_loss": {"loss_type": "l1", "loss_kwargs": {"mode_3d": True}}},
        "the top-level key mode_3d decides",
    ),
    "loss": ({"image_rec_loss": {"loss_type": "l3", "loss_kwargs": {}}}, "loss_type `l3` is not known"),
    "vgg": (
        {
            "image_rec_loss": {
                "loss_type": "perceptual",
                "loss_kwargs": {
                    "path_to_vgg19_weights": "/nowhere.tar",
                    "weights_per_resolution": {8: {"img_weight": 0, "feature_weights": {"r11": 1}}},
                },
            }
        },
        "path_to_vgg19_weights /nowhere.tar is missing",
    ),
    "layer": (
        {
            "image_rec_loss": {
                "loss_type": "perceptual",
                "loss_kwargs": {"weights_per_resolution": {8: {"feature_weights": {"r99": 1}}}},
            }
        },
        "VGG19 layer `r99` is not known",
    ),
    "iters": ({"iters_per_res": {8: {"stabb": 1}}}, "8 has `stabb`"),
    "resume from nothing": ({"finetune_from": "/nowhere.tar"}, "finetune_from /nowhere.tar is missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_training_configurations_are_refused_in_one_line(name: str, prepared: Path, tmp_path: Path, run) -> None:
    changes, message = CHANGES[name]
    config = {**small_train_config(prepared), **{k: v for k, v in changes.items() if v is not ...}}
    config = {k: v for k, v in config.items() if changes.get(k) is not ...}
    if config["checkpoint_root"]:
        config["checkpoint_root"] = str(tmp_path / "checkpoints")
    config["log_root"] = str(tmp_path / "logs")
    write_config(tmp_path / "config.yaml", config)
    assert message in run("train", tmp_path / "config.yaml", "--device", "cpu").error
    assert not (tmp_path / "checkpoints").exists()


def test_double_keys_and_broken_yaml_are_refused(tmp_path: Path, run) -> None:
    (tmp_path / "double.yaml").write_text("verbose: true\nverbose: false\n")
    assert "line 2: the key `verbose` stands twice" in run("train", tmp_path / "double.yaml").error
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    assert "not valid YAML" in run("train", tmp_path / "broken.yaml").error
    assert "Configuration nothing.yaml is missing" in run("train", "nothing.yaml").error


def test_a_fold_without_images_and_a_missing_folder_are_named(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    config["val_dataset"]["dataset_kwargs"]["fold"] = 7
    write_config(tmp_path / "config.yaml", config)
    assert "split val of fold 7" in run("train", tmp_path / "config.yaml").error
    config["val_dataset"]["dataset_kwargs"]["image_root"] = "/nowhere"
    write_config(tmp_path / "config.yaml", config)
    assert "image_root /nowhere is missing" in run("train", tmp_path / "config.yaml").error


def test_evaluation_without_masks_and_with_other_shapes_is_refused(prepared: Path, tmp_path: Path, run) -> None:
    config = small_inference_config(prepared, results_root=str(tmp_path / "r"))
    kwargs = config["test_dataset"]["dataset_kwargs"]
    write_config(tmp_path / "a.yaml", config)
    kwargs["mask_root"] = None
    write_config(tmp_path / "b.yaml", config)
    assert "mask_root" in run("inference_evaluate_3d", tmp_path / "b.yaml", "--device", "cpu").error
    write_volume(tmp_path / "masks" / "00000.nii.gz", np.zeros((3, 3, 3), np.uint8), AFFINE)
    kwargs["mask_root"] = str(tmp_path / "masks")
    write_config(tmp_path / "c.yaml", config)
    found = run("inference_evaluate_3d", tmp_path / "c.yaml", "--device", "cpu")
    assert "00000.nii.gz: mask (3, 3, 3) and image (24, 24, 24) differ in shape" in found.err
    assert "4 of 4 volumes could not be used" in found.error


@pytest.mark.parametrize(
    ("mask", "affine", "wanted"),
    [
        (-1.0 * (phantom(1) > 0.7), AFFINE, "the mask has values from -1 to "),
        (0.3 * (phantom(1) > 0.7), AFFINE, "the mask has values from 0 to 0.3; expected 0, and 1"),
        (phantom(1) > 0.7, AFFINE @ np.diag([-1, 1, 1, 1]), "axes of the mask point to RSA, those of the image to LSA"),
    ],
)
def test_masks_that_mean_something_else(
    mask: np.ndarray, affine: np.ndarray, wanted: str, prepared: Path, tmp_path: Path, run
) -> None:
    config = small_inference_config(prepared, results_root=str(tmp_path / "r"))
    for name in ("00000", "00001"):
        write_volume(tmp_path / "masks" / f"{name}.nii.gz", (phantom(1) > 0.7).astype(np.uint8), AFFINE)
    write_volume(tmp_path / "masks" / "00000.nii.gz", mask.astype(np.float32), affine)
    config["test_dataset"]["dataset_kwargs"]["image_root"] = str(prepared / "volumes")
    config["test_dataset"]["dataset_kwargs"]["mask_root"] = str(tmp_path / "masks")
    write_config(tmp_path / "c.yaml", config)
    found = run("inference_evaluate_3d", tmp_path / "c.yaml", "--device", "cpu", "--no-pictures")
    assert f"00000.nii.gz: the {wanted.removeprefix('the ')}" in found.err
    assert "have anomalies, so AP and AUC of samples say nothing" in found.err
    assert "UserWarning" not in found.err
    assert found.status == (0 if "axes" in wanted else 2)


def test_evaluate_refuses_volumes_where_the_model_knows_slices(prepared: Path, tmp_path: Path, run) -> None:
    config = {
        **{"verbose": False, "test_batch_size": 2, "results_root": str(tmp_path / "r"), "save_inference": False},
        **{"score_reduction": "max", "test_dataset": small_inference_config(prepared)["test_dataset"]},
        "test_model_path": str(prepared / "axis_0" / "checkpoints" / "anomaly_detection.tar"),
    }
    write_config(tmp_path / "e.yaml", config)
    found = run("evaluate", tmp_path / "e.yaml", "--device", "cpu")
    assert found.status == 2
    assert "was trained on slices; test_dataset.dataset_type must be numpy2d" in found.error
    assert not (tmp_path / "r").exists()


def test_flags_of_the_synthetic_set_belong_together(prepared: Path, tmp_path: Path, run) -> None:
    words = ["-i", prepared / "volumes", "-o", tmp_path / "i", "-m", tmp_path / "m"]
    assert "-p needs -f" in run("synthetic", *words, "-p", prepared / "folds.csv").error
    assert "is ignored" in run("synthetic", *words, "-f", "0", "--seed", 1).err


def test_a_volume_without_body_gets_no_anomaly(tmp_path: Path, run) -> None:
    write_volume(tmp_path / "in" / "00000.nii.gz", np.zeros((8, 8, 8), np.float32), AFFINE)
    found = run("synthetic", "-i", tmp_path / "in", "-o", tmp_path / "i", "-m", tmp_path / "m")
    assert found.status == 0
    assert "No anomaly is made of it" in found.err
    assert [path.name for path in (tmp_path / "i").iterdir()] == ["00000.nii.gz"]


def test_links_become_copies_where_links_are_not_possible(tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("old")
    _link(tmp_path / "a", tmp_path / "b", refuse)
    assert (tmp_path / "b").read_text() == "x"


@pytest.mark.parametrize("count", [1, 9])
def test_folds_that_cannot_be_made_are_refused(count: int, prepared: Path, tmp_path: Path, run) -> None:
    found = run("folds", "-i", prepared / "volumes", "-o", tmp_path / "f.csv", "-n", count)
    assert f"4 volumes cannot be cut into {count} folds" in found.error


def test_a_filter_that_leaves_nothing_is_announced(prepared: Path, tmp_path: Path, run) -> None:
    found = run("save-2d", "-i", prepared / "volumes", "-o", tmp_path / "s", "-a", 0, "-f", "-r", 63)
    assert "no slice will be saved" in found.err


def test_features_of_another_network_are_refused(prepared: Path, tmp_path: Path, run) -> None:
    import torch

    torch.save({f"{i}.weight": torch.zeros(3) for i in range(40)}, tmp_path / "other.tar")
    path = predict_config(prepared, tmp_path)
    write_config(path, {**read_config(path), "path_to_vgg19_weights": str(tmp_path / "other.tar")})
    folder = write_phantoms(tmp_path / "in", 1)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu")
    assert "is not of VGG19: `conv1_1.weight` would be (3,)" in found.error

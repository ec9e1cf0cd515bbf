"""Configurations of trainings and evaluations that cannot be meant: one line before anything is written."""

from pathlib import Path

import numpy as np
import pytest
from mood_dpa.config_files import merge, read_config, write_config
from mood_dpa.data.volumes import write_volume
from ood_shared.errors import InputError

from ..conftest import AFFINE, phantom, small_inference_config, small_train_config, write_phantoms

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
    "layer weight": (
        {
            "image_rec_loss": {
                "loss_type": "perceptual",
                "loss_kwargs": {"weights_per_resolution": {8: {"feature_weights": {"r11": -1}}}},
            }
        },
        "weights_per_resolution, 8: the weight of r11 is -1; expected a number from 0 on",
    ),
    "image weight": (
        {
            "image_rec_loss": {
                "loss_type": "perceptual",
                "loss_kwargs": {"weights_per_resolution": {8: {"img_weight": -1}}},
            }
        },
        "`img_weight` is -1; expected a number from 0 on",
    ),
    "iters": ({"iters_per_res": {8: {"stabb": 1}}}, "8 has `stabb`"),
    "other resolution": ({"iters_per_res": {64: {"trns": 1}}}, "64 is no resolution of this training; it has [4, 8]"),
    "latent": ({"latent_res": 3}, "latent_res is 3; it must be a power of 2"),
    "channels": ({"image_dim": 3}, "image_dim is 3, the images of train_dataset have 1 channel(s)"),
    "upsampling": (
        {"dec": {"type": "residual9", "kwargs": {"inner_dims": [4, 4], "upsample_mode": "foo"}}},
        "upsample_mode `foo` is not known",
    ),
    "switch": (
        {"dec": {"type": "residual9", "kwargs": {"inner_dims": [4, 4], "normalize_latents": "maybe"}}},
        "`normalize_latents` is 'maybe'; expected true or false",
    ),
    "reduction": (
        {"image_rec_loss": {"loss_type": "l1", "loss_kwargs": {"reduction": "none"}}},
        "reduction is none; training needs one number: mean or sum",
    ),
    "rate": ({"adam_kwargs": {"lr": "fast"}}, "adam_kwargs: lr is 'fast'; expected a number above 0"),
    "betas": ({"adam_kwargs": {"betas": [2, 3]}}, "betas is [2, 3]; expected two numbers from 0 on and below 1"),
    "adam": ({"adam_kwargs": {"lrr": 0.1}}, "adam_kwargs: key `lrr` is not known. Did you mean `lr`?"),
    "delta": ({"early_stopping_min_delta": -1}, "`early_stopping_min_delta` is -1; expected a number from 0 on"),
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


def test_a_mapping_over_a_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"^`a` is 1; expected keys and values \(b, c\), or nothing\.$"):
        merge({"a": 1}, {"a": {"b": 2, "c": 3}})


@pytest.mark.parametrize("name", ["model", "loss"])
def test_an_empty_part_of_a_simclr_configuration_is_named(tmp_path: Path, run, name: str) -> None:
    write_config(tmp_path / "s.yaml", {name: None})
    assert f"{name} is None; expected keys and values (" in run("simclr", tmp_path / "s.yaml").error


def test_images_that_are_no_tensors_are_refused(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    config["train_dataset"]["transform_kwargs"] = {"to_tensor": False}
    write_config(tmp_path / "config.yaml", config)
    assert "`to_tensor` is False; expected true" in run("train", tmp_path / "config.yaml").error


def test_a_fold_without_images_and_a_missing_folder_are_named(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    config["val_dataset"]["dataset_kwargs"]["fold"] = 7
    write_config(tmp_path / "config.yaml", config)
    assert "fold 7 is not in the folds file; it has 0, 1." in run("train", tmp_path / "config.yaml").error
    config["train_dataset"]["dataset_kwargs"]["fold"] = 7
    write_config(tmp_path / "config.yaml", config)
    assert "fold 7 is not in the folds file" in run("train", tmp_path / "config.yaml").error
    config["train_dataset"]["dataset_kwargs"]["fold"] = config["val_dataset"]["dataset_kwargs"]["fold"] = 0
    config["val_dataset"]["dataset_kwargs"]["image_root"] = "/nowhere"
    write_config(tmp_path / "config.yaml", config)
    assert "image_root /nowhere is missing" in run("train", tmp_path / "config.yaml").error


def test_validating_on_what_is_trained_on_is_warned_of(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    config["train_dataset"]["dataset_kwargs"]["split"] = "all"
    write_config(tmp_path / "config.yaml", config)
    found = run("train", tmp_path / "config.yaml", "--device", "cpu")
    assert found.status == 0
    assert "validation images are trained on, too; the checkpoint is chosen by them" in found.err


def test_sets_that_are_prepared_in_two_ways_are_refused(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    config["train_dataset"]["transform_kwargs"]["normalize"] = False
    write_config(tmp_path / "config.yaml", config)
    line = run("train", tmp_path / "config.yaml", "--device", "cpu").error
    assert "normalize is False in train_dataset and True in val_dataset; take one" in line


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


def test_models_of_whole_volumes_and_of_slices_are_told_apart(prepared: Path, entrances, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 4)
    train = read_config(tmp_path / "train.yaml")
    write_config(tmp_path / "a.yaml", {**train, "mode_3d": False})
    assert "Data sets of nifti3d need `mode_3d: true`" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    slices = small_train_config(prepared, checkpoint_root=str(tmp_path / "out"), log_root=str(tmp_path / "out"))
    write_config(tmp_path / "a.yaml", {**slices, "mode_3d": True})
    assert "Data sets of numpy2d need `mode_3d: false`" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    (tmp_path / "model_3d.tar").replace(tmp_path / "model_0.tar")
    config = read_config(tmp_path / "inference.yaml")
    write_config(tmp_path / "inference.yaml", {**config, "test_model_path": str(tmp_path / "model_0.tar")})
    for command in ("predict-3d", "inference_evaluate_3d"):
        assert "was trained on whole volumes (mode_3d)" in run(command, *entrances[command]).error
    assert not (tmp_path / "out").exists()

"""Training: resumption, early stopping, divergence, checkpoints of the published program."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import build_families, load_model
from mood_dpa.config_files import write_config
from mood_dpa.data.slices import Batches, Images
from mood_dpa.loop import Trainer
from mood_dpa.losses import make_loss
from mood_dpa.settings import ImageSet, LoopSettings, TrainSettings
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import CHECKPOINT, MODEL, RESUME
from mood_dpa.train import train
from ood_shared.errors import InputError
from ood_shared.signals import Terminated
from ood_shared.training import Compute

from ..conftest import small_train_config

CPU = Compute(torch.device("cpu"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder / RESUME)
    return {f"{part}.{key}": value for part in ("enc", "dec") for key, value in state[part].items()}


def run(at: Path, prepared: Path, resume: bool = False, **changes: object) -> dict[str, torch.Tensor]:
    config = small_train_config(prepared, **changes)
    config |= {"checkpoint_root": str(at / "checkpoints"), "log_root": str(at / "logs")}
    train(TrainSettings.of(config), replace(CPU, resume=resume))
    return weights(at / "checkpoints")


@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_a_run_stopped_anywhere_and_resumed_equals_an_unbroken_one(
    stop_after: int, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", prepared)
    original, count = Trainer._iteration, 0

    def stopping(self: Trainer) -> None:
        nonlocal count
        original(self)
        count += 1
        if count == stop_after:
            self.save_resume()
            raise Terminated

    monkeypatch.setattr(Trainer, "_iteration", stopping)
    with pytest.raises(Terminated):
        run(tmp_path / "broken", prepared)
    monkeypatch.setattr(Trainer, "_iteration", original)
    resumed = run(tmp_path / "broken", prepared, resume=True)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_a_killed_run_goes_on_from_its_last_save(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", prepared)
    original, count = Trainer.step, 0

    def dying(self: Trainer, images: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return original(self, images)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", prepared)
    monkeypatch.setattr(Trainer, "step", original)
    resumed = run(tmp_path / "killed", prepared, resume=True)
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_resuming_with_another_learning_rate_is_refused(prepared: Path, tmp_path: Path) -> None:
    run(tmp_path, prepared)
    with pytest.raises(InputError, match="adam_kwargs"):
        run(tmp_path, prepared, resume=True, adam_kwargs={"lr": 0.5})


def test_the_last_stage_has_exactly_its_length(prepared: Path, tmp_path: Path) -> None:
    run(tmp_path, prepared, stab_iter=6, trns_iter=0, initial_image_res=8)
    assert load_checkpoint(tmp_path / "checkpoints" / RESUME)["n_iter"] == 6


def test_patience_ends_a_run_that_does_not_get_better(prepared: Path, tmp_path: Path) -> None:
    changes = {"initial_image_res": 8, "stab_iter": 40, "val_iter": 1, "early_stopping_min_delta": 1e9}
    run(tmp_path, prepared, **changes, early_stopping_patience=3)
    state = load_checkpoint(tmp_path / "checkpoints" / RESUME)
    assert state["n_iter"] == 4  # patience + 1 validations without improvement


def test_divergence_is_an_error_that_keeps_the_checkpoints(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN or exceeded"):
        run(tmp_path, prepared, adam_kwargs={"lr": 1e30}, stab_iter=20)


def test_a_set_smaller_than_a_batch_trains(prepared: Path, tmp_path: Path) -> None:
    assert run(tmp_path, prepared, batch_sizes={4: 5000, 8: 5000})


def test_validation_sees_every_image_once_in_order(prepared: Path) -> None:
    from mood_dpa.train import _validation

    config = small_train_config(prepared)
    images = Images(ImageSet.of(config["val_dataset"]))
    parts = list(_validation(images, False, CPU.device, (0, 1), 5))
    assert sum(len(part) for part in parts) == len(images)
    assert torch.equal(torch.cat(parts), images.read(list(range(len(images))), CPU.device))


def test_validation_in_training_of_two_ranks_covers_the_set(prepared: Path) -> None:
    from mood_dpa.train import _validation

    config = small_train_config(prepared)
    images = Images(ImageSet.of(config["val_dataset"]))
    counts = [sum(len(p) for p in _validation(images, False, CPU.device, (rank, 2), 5)) for rank in (0, 1)]
    assert sum(counts) == len(images)


def test_batches_of_ranks_are_parts_of_the_batch_of_one(prepared: Path) -> None:
    config = small_train_config(prepared)
    images = Images(ImageSet.of(config["train_dataset"]))

    def batches(rank: int, count: int) -> Batches:
        return Batches(images, torch.Generator().manual_seed(1), CPU.device, 0, (rank, count))

    whole, first, second = batches(0, 1), batches(0, 2), batches(1, 2)
    for _ in range(12):
        batch = whole.take(4)
        assert torch.equal(batch[0::2], first.take(4))
        assert torch.equal(batch[1::2], second.take(4))


def test_packed_slices_and_single_files_give_the_same_images(prepared: Path, tmp_path: Path, done) -> None:
    done("save-2d", "-i", prepared / "volumes", "-o", tmp_path / "packed", "-a", 0, "--packed")
    entry = small_train_config(prepared)["train_dataset"]
    single = Images(ImageSet.of(entry))
    packed = Images(replace(ImageSet.of(entry), image_root=tmp_path / "packed"))
    assert single.names == packed.names
    index = list(range(len(single)))
    assert torch.equal(single.read(index, CPU.device), packed.read(index, CPU.device))


def test_a_checkpoint_of_the_published_program_is_read(prepared: Path, tmp_path: Path) -> None:
    """Its `optimizer` entry holds VGG19 weights, its progress is a NumPy number, nothing else is stored."""
    run(tmp_path / "own", prepared)
    state = torch.load(tmp_path / "own" / "checkpoints" / CHECKPOINT, weights_only=True)
    old = {key: state[key] for key in state if key not in ("run", "scaler", "ranks")}
    old |= {"optimizer": {"image_rec_loss._loss.model.conv1_1.weight": torch.zeros(2)}, "progress": np.float64(1 / 3)}
    torch.save(old, tmp_path / "old.tar")
    config = small_train_config(prepared)
    images = Images(ImageSet.of(config["train_dataset"]))
    source = Batches(images, torch.Generator().manual_seed(0), CPU.device)
    settings = LoopSettings.of(config)
    trainer = Trainer(
        settings, build_families(config), make_loss("l1", {}), source, lambda: iter(()), source.display(4)
    )
    trainer.load_state_dict(load_checkpoint(tmp_path / "old.tar"), "old.tar")
    assert (trainer.at.n_iter, trainer.at.k) == (state["n_iter"], int(trainer.stage.length / 3))


def test_a_trained_model_loads_with_another_loss_without_its_vgg_file(prepared: Path, tmp_path: Path) -> None:
    path = prepared / "axis_0" / "checkpoints" / MODEL
    state = torch.load(path, weights_only=True)
    missing = {"path_to_vgg19_weights": "/nowhere.tar", "weights_per_resolution": {8: {"feature_weights": {"r11": 1}}}}
    state["config"]["image_rec_loss"] = {"loss_type": "relative_perceptual_L1", "loss_kwargs": missing}
    torch.save(state, tmp_path / "model.tar")
    assert load_model(tmp_path / "model.tar", {"loss_type": "l1", "loss_kwargs": {}}).resolution == 8
    with pytest.raises(InputError, match=r"nowhere\.tar is missing"):
        load_model(tmp_path / "model.tar")


def test_autoencoders_of_volumes_train_and_are_evaluated(prepared: Path, tmp_path: Path, done) -> None:
    config = small_train_config(prepared, mode_3d=True)
    config |= {"checkpoint_root": str(tmp_path / "checkpoints"), "log_root": str(tmp_path / "logs")}
    config |= {"batch_sizes": {4: 2, 8: 2}}
    weights = {res: {"img_weight": 1, "feature_weights": {}} for res in (4, 8)}
    config["image_rec_loss"] = {
        "loss_type": "relative_perceptual_L1",
        "loss_kwargs": {"weights_per_resolution": weights, "normalize_to_vgg_input": False},
    }
    for part in ("train", "val"):
        config[f"{part}_dataset"]["dataset_type"] = "nifti3d"
        config[f"{part}_dataset"]["dataset_kwargs"]["image_root"] = str(prepared / "volumes")
    train(TrainSettings.of(config), CPU)
    entry = config["val_dataset"]
    entry["dataset_kwargs"] |= {"image_root": str(prepared / "images"), "mask_root": str(prepared / "masks")}
    evaluation = {
        **{"verbose": False, "test_batch_size": 2, "results_root": str(tmp_path / "r"), "save_inference": True},
        **{"score_reduction": "max", "test_dataset": entry},
        "test_model_path": str(tmp_path / "checkpoints" / MODEL),
    }
    write_config(tmp_path / "evaluate.yaml", evaluation)
    done("evaluate", tmp_path / "evaluate.yaml", "--device", "cpu")
    assert len(list((tmp_path / "r" / "pixel").glob("*.nii.gz"))) == 4

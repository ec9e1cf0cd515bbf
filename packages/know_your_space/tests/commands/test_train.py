"""`train_in_latent_out_pix.py`: files, lines, switches."""

import json
import re

import pytest
import torch
from know_your_space import train
from ood_shared import checkpoints
from PIL import Image

DRAW = train._draw  # which `place` takes away


@pytest.fixture(scope="module")
def finished(tmp_path_factory, runs, builders):
    """A folder with a run of two epochs, and what was printed; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("finished")
        builders.enter_tiny(place, patch)
        return place, runs.trained("--device", "cpu", "--print-freq", "1", epochs=2).out


def test_the_documented_flags_leave_the_two_checkpoints_under_the_original_names(finished):
    folder = finished[0] / "ckpts" / "wrn" / "tiny" / "in_latent_out_pix"
    assert sorted(path.name for path in folder.glob("*.tar")) == [
        "in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_1.0-ckpt.pth.tar",
        "in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_1.0-ckpt_last.pth.tar",
    ]


def test_a_checkpoint_has_the_original_three_keys_and_the_number_of_the_next_epoch(finished, runs):
    state = checkpoints.load(runs.checkpoint(root=finished[0]))
    assert list(state) == ["epoch", "optimizer", "state_dict"]
    assert state["epoch"] == 3
    assert "fc.weight" in state["state_dict"]
    assert not any(key.startswith("module.") for key in state["state_dict"])


def test_the_best_checkpoint_is_of_the_epoch_with_the_highest_balanced_validation_accuracy(place, runs):
    runs.trained(epochs=4)
    accuracies = [record["vali_balanced_accuracy"] for record in runs.metrics()]
    best = checkpoints.load(runs.checkpoint(last=False))["epoch"] - 1
    assert best == accuracies.index(max(accuracies)) + 1


def test_the_lines_carry_the_original_fields(finished):
    out = finished[1]
    batch = (
        r"Epoch: 1\tBatch: 1/3\tTime: \d+\.\d{3}\tLoss In: \d+\.\d{4}\tLoss Margin: \d+\.\d{4}\t"
        r"Loss Total: \d+\.\d{4}\tBal Acc: \d\.\d{3}"
    )
    assert re.search(batch, out)
    assert re.search(r"Epoch: 2/2\tTrain Loss: \d+\.\d{3}\tTrain AUC: \d\.\d{3}\tTrain Bal Acc: \d\.\d{3}", out)
    assert re.search(r"Validation: 1/1\tTime: \d+\.\d{3}\tLoss: \d+\.\d{4}\tAcc: \d\.\d{3}", out)
    assert re.search(r"Validation AUC: \d\.\d{3}\tValidation Bal Acc: \d\.\d{3}\n\[\[", out)
    assert re.search(r"Duration: \d+\.\d s", out)
    for word in ("arguments: {", "outlier operators: augmix_jigsaw, rand_conv", "class counts: {", "parameters: 77395"):
        assert word in out


def test_the_loss_in_is_the_cross_entropy_and_not_the_total(place, runs):
    runs.trained(epochs=3)
    last = runs.metrics()[-1]
    assert last["margin_in"] + last["margin_out"] > 0
    expected = last["train_ce"] + 0.1 * (last["margin_in"] + last["margin_out"])
    assert last["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_start_of_the_margin_loss_is_told_and_waits_for_start_epoch(place, runs):
    out = runs.trained("--start_epoch", "3", epochs=3).out
    assert "The margin loss starts in epoch 3, batch 1." in out
    margins = [record["margin_in"] + record["margin_out"] for record in runs.metrics()]
    assert margins[:2] == [0.0, 0.0]
    assert margins[2] > 0


def test_a_run_whose_queues_never_fill_ends_with_a_warning(place, runs):
    found = runs.trained("--sample_number", "500")
    assert "without ever using the margin loss: the latent queues never filled; lower --sample_number" in found.err


def test_the_margin_loss_of_the_last_linear_layer_changes_the_weights(place, runs):
    runs.trained("--ckpt_name", "with", epochs=3)
    runs.trained("--ckpt_name", "without", "--beta1", "0", epochs=3)
    assert not runs.same(runs.weights(name="with"), runs.weights(name="without"))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(place, runs):
    runs.trained("--ckpt_name", "a")
    runs.trained("--ckpt_name", "b")
    runs.trained("--ckpt_name", "c", "--seed", "2")
    assert runs.same(runs.weights(name="a"), runs.weights(name="b"))
    assert not runs.same(runs.weights(name="a"), runs.weights(name="c"))


def test_a_seed_that_is_not_given_is_drawn_and_recorded(place, runs, monkeypatch):
    monkeypatch.setattr("secrets.randbelow", lambda limit: 77)
    monkeypatch.setattr(runs, "TINY", runs.TINY[: runs.TINY.index("--seed")])
    runs.trained(epochs=1)
    config = json.loads((runs.run_folder() / "config.json").read_text())
    assert config["settings"]["seed"] == 77


@pytest.mark.parametrize(
    ("inliers", "outliers"),
    [("none", "latent"), ("pixel", "latent"), ("none", "pixel"), ("pixel", "pixel"), ("latent", "latent")],
)
def test_every_cell_of_the_ablation_trains_with_its_terms(place, runs, inliers, outliers):
    found = runs.trained("--inlier_space", inliers, "--outlier_space", outliers, epochs=3)
    last = runs.metrics()[-1]
    assert (last["margin_in"] > 0) == (inliers != "none")
    assert f"inliers: {inliers}, outliers: {outliers}" in found.out


def test_without_both_spaces_a_plain_classifier_is_trained(place, runs):
    found = runs.train("--dist", "--inlier_space", "none", "--outlier_space", "none")
    assert found.status == 0, found.err
    last = runs.metrics()[-1]
    assert (last["margin_in"], last["margin_out"]) == (0.0, 0.0)
    assert last["train_loss"] == pytest.approx(last["train_ce"])


def test_latent_outliers_say_that_the_pixel_operators_have_no_effect(place, runs):
    assert (
        "--augmix, --jigsaw, --rand_conv and --outlier_contrast have no effect"
        in runs.trained("--outlier_space", "latent").out
    )


def test_jigsaw_and_both_operators_train(place, runs):
    out = runs.trained("--jigsaw", epochs=1).out
    assert "outlier operators: augmix_jigsaw, jigsaw, rand_conv" in out
    found = runs.train("--dist", "--jigsaw", "--ckpt_name", "jigsaw", epochs=1)
    assert "outlier operators: jigsaw\n" in found.out


def test_a_single_kernel_size_of_the_random_convolution_works(place, runs):
    runs.trained("--rand_conv_kernel_size", "5")


def test_separate_batch_norm_takes_its_running_statistics_from_id_images_alone(place, runs):
    runs.trained("--ckpt_name", "mixed", "--beta1", "0", epochs=1)
    runs.trained("--ckpt_name", "apart", "--beta1", "0", "--separate_bn", epochs=1)
    mixed, apart = runs.weights(name="mixed"), runs.weights(name="apart")
    assert not torch.allclose(mixed["bn1.running_mean"], apart["bn1.running_mean"])
    assert int(apart["bn1.num_batches_tracked"]) == 3


def test_the_plateau_schedule_keeps_the_rate_while_the_loss_falls(place, runs):
    runs.trained("--lr_schedule", "plateau", "--lr", "0.002")
    assert [record["lr"] for record in runs.metrics()] == [0.002, 0.002]


def test_a_mild_severity_with_the_canvas_of_the_image_trains(place, runs):
    runs.trained("--augmix_severity", "3", "--augmix_canvas", "image", epochs=1)


def test_half_precision_and_the_flags_without_effect_are_accepted(place, runs):
    runs.trained("--precision", "bf16", "--cutmix", "--num_workers", "4", epochs=1)


def test_a_set_of_one_class_trains_by_the_margin_alone(place, runs):
    found = runs.trained("--novel_classes", "1,2", "--sample_number", "4", epochs=3)
    last = runs.metrics()[-1]
    assert last["train_ce"] == 0.0
    assert last["margin_in"] + last["margin_out"] > 0
    assert last["vali_auc"] is None
    assert "the AUC is not defined here" in found.out


def test_a_set_of_two_classes_has_the_binary_auc(place, runs):
    runs.trained("--novel_classes", "2", epochs=1)
    assert 0 <= runs.metrics()[-1]["vali_auc"] <= 1


def test_output_dir_takes_the_place_of_the_working_folder(place, runs):
    runs.trained("--output-dir", "elsewhere", epochs=1)
    assert runs.checkpoint(root="elsewhere").is_file()
    assert not (place / "ckpts").exists()


def test_tensorboard_files_are_written_on_request(place, runs):
    runs.trained("--log-to", "tensorboard", epochs=1)
    assert list(runs.run_folder().glob("events.out.tfevents*"))


def test_runs_with_other_margins_share_a_folder_without_mixing(place, runs):
    runs.trained(epochs=1)
    before = runs.weights()
    runs.trained("--T", "2", epochs=1)
    assert runs.same(runs.weights(), before)
    assert runs.checkpoint(T=2.0).is_file()


def test_a_training_leaves_pictures_and_is_not_changed_by_drawing_them(place, runs, monkeypatch, drawn):
    runs.trained("--ckpt_name", "plain", epochs=2)
    monkeypatch.setattr(train, "_draw", DRAW)
    runs.trained("--ckpt_name", "drawn", epochs=2)
    assert runs.same(runs.weights(name="drawn"), runs.weights(name="plain"))
    for name in ("samples.png", "latent_map.png"):
        with Image.open(runs.run_folder(name="drawn") / name) as picture:
            assert min(picture.size) > 200

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.errors import InputError, MissingFileError
from oodgen import checkpoints as models
from oodgen import configuration
from oodgen.classifier import Classifier
from oodgen.vae import VAE

NAMES = ("a", "b", "c")
TRAINED = configuration.Trained("doc", "all", NAMES, 8, "elbo", (0.5, 0.5))


@pytest.fixture
def folder(tmp_path):
    """A folder with models of epochs 2 and 10."""
    for name in ("model_2.pth", "model_10.pth", "model_best.pth", "model.pth"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def written(folder, **content):
    (folder / "configuration.json").write_text(json.dumps(content))
    return folder


def test_a_given_folder_is_taken_as_it_is():
    assert models.id_folder("My data", "--in_data") == "My data"


def test_the_documented_folder_is_taken_when_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/train/mnist").mkdir(parents=True)
    assert models.id_folder(None, "--in_data") == "./data/train/mnist"


def test_without_it_the_embedded_digits_are_written_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert models.id_folder(None, "--in_data") == models.id_folder(None, "--in_data") == "./data/train/digits"
    assert sorted(path.name for path in Path("data/train/digits/train").iterdir()) == list("0123456789")
    first, second = capsys.readouterr().out.splitlines()
    assert "were written to ./data/train/digits" in first
    assert "using the embedded digits in ./data/train/digits" in second


def test_a_run_folder_comes_back_as_it_was_written(tmp_path):
    options = argparse.Namespace(epochs=3, in_data="./mnist", latent_dim=5, classes="0-2", loss="mse", debug=True)
    configuration.write_configuration(tmp_path, options, NAMES, {"architecture": "paper", "normalize_used": [0.2, 0.4]})
    expected = configuration.Trained("paper", "0-2", NAMES, 5, "mse", (0.2, 0.4))
    assert configuration.read_configuration(tmp_path, "./elsewhere") == expected


def test_the_configuration_has_the_flags_in_their_order_then_the_rest(tmp_path):
    options = argparse.Namespace(zeta=1, alpha=2, debug=False, resume=True)
    configuration.write_configuration(tmp_path, options, NAMES, {"seed_used": 3})
    keys = list(json.loads((tmp_path / "configuration.json").read_text()))
    assert keys == ["zeta", "alpha", "n_classes", "class_names", "seed_used", "versions"]


@pytest.mark.parametrize(
    ("content", "scale"),
    [
        ({"in_data": "./data/train/mnist", "seed": True}, (0.1307, 0.3081)),
        ({"in_data": "./data/train/fmnist", "seed": True}, (0.5, 0.5)),
        (None, (0.1307, 0.3081)),  # no file: the folder that this command was given decides
    ],
)
def test_a_published_folder_means_ten_classes_and_the_published_normalisation(tmp_path, content, scale):
    if content is not None:
        written(tmp_path, **content)
    found = configuration.read_configuration(tmp_path, "./data/train/mnist")
    assert (found.n_classes, found.latent_dim, found.loss, found.named) == (10, 8, "mse", False)
    assert found.normalize == found.encoder_scale == scale


def test_the_encoder_sees_plain_pixels_unless_the_loss_was_mse():
    assert TRAINED.encoder_scale == (0.0, 1.0)
    assert replace(TRAINED, loss="mse").encoder_scale == (0.5, 0.5)


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        '{"latent_dim": "eight"}',
        '{"class_names": 3}',
        '{"class_names": []}',
        '{"normalize_used": [1]}',
        '{"class_names": ["a"], "architecture": "resnet"}',
    ],
)
def test_a_configuration_that_makes_no_sense_is_named(tmp_path, content):
    (tmp_path / "configuration.json").write_text(content)
    with pytest.raises(InputError, match=r"configuration\.json does not hold"):
        configuration.read_configuration(tmp_path, "./mnist")


def test_a_configuration_that_is_no_json_is_named(tmp_path):
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(InputError, match=r"configuration\.json is not valid JSON"):
        configuration.read_configuration(tmp_path, "./mnist")


@pytest.mark.parametrize(("step", "script"), [("vae", "train_vae.py"), ("classifer", "train_classi.py")])
def test_a_missing_folder_comes_with_the_command_that_makes_it(tmp_path, step, script):
    with pytest.raises(MissingFileError, match=f"python {script} --in_data ./mnist --save_path {tmp_path}"):
        configuration.read_configuration(tmp_path / step, "./mnist")


def test_the_documented_spelling_of_the_classifier_folder_comes_first(tmp_path):
    (tmp_path / "classifier").mkdir()
    assert models.find_classifier_folder(tmp_path, "./mnist").name == "classifier"
    (tmp_path / "classifer").mkdir()
    assert models.find_classifier_folder(str(tmp_path), "./mnist").name == "classifer"


def test_no_classifier_folder_comes_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(MissingFileError, match=r"python train_classi\.py --in_data \./mnist --save_path"):
        models.find_classifier_folder(tmp_path, "./mnist")


def test_saved_epochs_are_numbers_in_their_order(folder):
    assert models.saved_epochs(folder) == [2, 10]


def test_the_model_of_a_given_epoch_is_taken(folder):
    assert models.model_file(folder, 2, default=100) == (folder / "model_2.pth", 2)


def test_the_model_of_the_default_epoch_wins_over_the_last(folder):
    assert models.model_file(folder, None, default=10) == (folder / "model_10.pth", 10)


def test_without_the_default_epoch_the_last_model_is_taken(folder):
    assert models.model_file(folder, None, default=100) == (folder / "model.pth", 10)


def test_the_last_model_has_the_epoch_of_the_training_though_not_every_one_was_kept(folder):
    (folder / "metrics.jsonl").write_text('{"epoch": 11}\n{"epoch": 12}\n')
    assert models.model_file(folder, None, default=100) == (folder / "model.pth", 12)


def test_of_a_run_with_patience_the_best_model_is_taken_unless_an_epoch_is_given(folder):
    written(folder, patience=2)
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"epoch": e, "vali_loss": v}) + "\n" for e, v in ((9, 2.0), (10, 1.0), (11, 1.0)))
    )
    assert models.model_file(folder, None, default=10) == (folder / "model.pth", 10)
    assert models.model_file(folder, 2, default=10) == (folder / "model_2.pth", 2)
    written(folder, patience=0)
    assert models.model_file(folder, None, default=10) == (folder / "model_10.pth", 10)


@pytest.mark.parametrize(
    ("done", "patience", "told"), [(3, None, True), (5, None, False), (0, None, False), (3, 2, False), (3, 3, True)]
)
def test_of_a_training_that_has_not_come_to_its_end_one_line_says_so(folder, capsys, done, patience, told):
    written(folder, patience=patience)
    (folder / "config.json").write_text(json.dumps({"settings": {"epochs": 5, "patience": patience}}))
    records = [{"epoch": epoch, "vali_loss": float(epoch)} for epoch in range(1, done + 1)]  # epoch 1 is the best
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    models.model_file(folder, None, default=100)
    where = f"note: the training in {folder} stands at epoch {done} of 5"
    expected = f"{where}: --resume of its own command goes on with it\n"
    assert capsys.readouterr().out == (expected if told else "")
    models.model_file(folder, 2, default=100)
    assert capsys.readouterr().out == ""


def test_a_given_epoch_that_was_not_saved_is_an_error_although_there_is_a_last_model(folder):
    with pytest.raises(MissingFileError, match=r"--model_epoch 7: .*model_7\.pth is missing. Saved epochs: 2, 10\."):
        models.model_file(folder, 7, default=100)


def test_without_any_fitting_model_the_saved_epochs_are_listed(folder):
    (folder / "model.pth").unlink()
    with pytest.raises(MissingFileError, match=r"Pass --model_epoch; saved epochs: 2, 10\."):
        models.model_file(folder, None, default=100)


def test_an_empty_folder_has_no_model(tmp_path):
    with pytest.raises(MissingFileError, match="Let the training finish an epoch"):
        models.model_file(tmp_path, None, default=100)


def test_a_later_step_takes_the_classes_of_the_training():
    assert configuration.choose_classes(None, replace(TRAINED, classes="0-2"), Path("x")) == "0-2"
    assert configuration.choose_classes("0-2", replace(TRAINED, classes="0-2"), Path("x")) == "0-2"


def test_other_classes_than_those_of_the_training_are_refused():
    with pytest.raises(InputError, match=r"--classes 0-1: x was trained with --classes all\. Leave the flag out"):
        configuration.choose_classes("0-1", TRAINED, Path("x"))


def test_other_class_names_than_those_of_the_training_are_refused():
    configuration.check_classes(NAMES, TRAINED, "here")
    with pytest.raises(InputError, match="here has 3 classes"):
        configuration.check_classes(("a", "b", "d"), TRAINED, "here")


def test_published_folders_know_the_number_of_classes_only():
    configuration.check_classes(("x", "y", "z"), replace(TRAINED, named=False), "here")
    with pytest.raises(InputError, match="here has 2 classes"):
        configuration.check_classes(("x", "y"), replace(TRAINED, named=False), "here")


def test_a_vae_comes_back_bit_equal_and_in_eval_mode(tmp_path):
    vae = VAE(3, 8)
    checkpoints.save(tmp_path / "m.pth", vae.state_dict())
    found = models.load_vae(tmp_path / "m.pth", TRAINED)
    assert not found.training
    assert all(torch.equal(value, vae.state_dict()[key]) for key, value in found.state_dict().items())


def test_a_vae_of_another_latent_dimension_is_refused_with_both_numbers(tmp_path):
    checkpoints.save(tmp_path / "m.pth", VAE(3, 6).state_dict())
    with pytest.raises(InputError, match=r"latent dimension 6, configuration\.json beside it says 8"):
        models.load_vae(tmp_path / "m.pth", TRAINED)


def test_a_vae_of_other_classes_is_refused_with_both_numbers(tmp_path):
    checkpoints.save(tmp_path / "m.pth", VAE(4, 8).state_dict())
    with pytest.raises(InputError, match=r"4 classes, configuration\.json beside it says 3"):
        models.load_vae(tmp_path / "m.pth", TRAINED)


def test_a_classifier_of_other_classes_is_refused_with_both_numbers(tmp_path):
    checkpoints.save(tmp_path / "m.pth", Classifier(10).state_dict())
    with pytest.raises(InputError, match="written for 10 classes, this run has 3"):
        models.load_classifier(tmp_path / "m.pth", TRAINED)


@pytest.mark.parametrize("load", [models.load_vae, models.load_classifier])
def test_a_file_of_something_else_is_refused(tmp_path, load):
    checkpoints.save(tmp_path / "m.pth", {"weights": torch.zeros(3)})
    with pytest.raises(InputError, match="does not fit this network"):
        load(tmp_path / "m.pth", TRAINED)

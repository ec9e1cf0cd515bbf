"""Names of checkpoints and folders."""

from pathlib import Path

import pytest
from know_your_space.data import paths
from ood_shared.errors import InputError, MissingFileError

DOCUMENTED = "ckpts/wrn/bloodmnist/in_latent_out_pix/in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_1.0-ckpt{}.pth.tar"


@pytest.mark.parametrize(("last", "ending"), [(True, "_last"), (False, "")])
def test_the_checkpoint_has_the_original_path(last: bool, ending: str) -> None:
    found = paths.checkpoint_path(Path(), "wrn", "bloodmnist", paths.RUN, -20, -7, 1, last)
    assert str(found) == DOCUMENTED.format(ending)


def test_logs_have_the_original_path() -> None:
    assert str(paths.log_folder(Path(), "wrn", "bloodmnist", "run")) == "logs/wrn/bloodmnist/run"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("bloodmnist", "bloodmnist"),
        ("BloodMNIST", "bloodmnist"),
        ("/data/medmnist/pneumoniamnist.npz", "pneumoniamnist"),
        ("../scans/My set.tar.gz", "my_set"),
        ("a$b c", "a_b_c"),
        ("/", "root"),
        ("scans/", "scans"),
    ],
)
def test_a_set_has_a_safe_folder_name(word: str, name: str) -> None:
    assert paths.set_name(word) == name


def test_a_path_that_ends_in_dots_is_named_after_the_folder_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "scans" / "inner")
    assert (paths.set_name("."), paths.set_name("..")) == ("inner", "scans")


@pytest.mark.parametrize("word", ["", ".", "..", "a/b", "a\\b"])
def test_a_run_name_that_leads_elsewhere_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="without slashes"):
        paths.checkpoint_path(Path(), "wrn", "digits", word, -20, -7, 1, True)


def test_detection_looks_for_the_run_name_and_then_for_the_constant_prefix(tmp_path: Path) -> None:
    arguments = (tmp_path, "wrn", "digits", "mine", -20.0, -7.0, 1.0, True)
    folder = paths.checkpoint_folder(*arguments[:4])
    folder.mkdir(parents=True)
    constant = folder / paths.checkpoint_name(paths.RUN, -20, -7, 1, True)
    constant.touch()
    assert paths.find_checkpoint(*arguments) == constant
    own = folder / paths.checkpoint_name("mine", -20, -7, 1, True)
    own.touch()
    assert paths.find_checkpoint(*arguments) == own


def test_a_missing_checkpoint_names_the_path_and_the_training_command(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        paths.find_checkpoint(tmp_path, "wrn", "bloodmnist", paths.RUN, -20, -7, 1, True)
    assert DOCUMENTED.format("_last") in str(caught.value)
    assert "train_in_latent_out_pix.py --in_dataset bloodmnist" in str(caught.value)


def test_a_run_stopped_in_its_first_epoch_is_gone_on_with(tmp_path: Path) -> None:
    run = (tmp_path, "wrn", "bloodmnist", "mine", -20, -7, 1, True)
    inner = paths.checkpoint_folder(*run[:4]) / "mine_m_in_-20.0-m_out_-7.0-T_1.0"
    inner.mkdir(parents=True)
    with pytest.raises(MissingFileError, match="Train it with"):
        paths.find_checkpoint(*run)
    (inner / "checkpoint.pt").touch()
    with pytest.raises(MissingFileError, match="has not ended an epoch; go on with it"):
        paths.find_checkpoint(*run)

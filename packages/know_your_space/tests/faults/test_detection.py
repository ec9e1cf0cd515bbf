"""What can be wrong with the input of `ood_detection.py`: one line, exit status 2, nothing half-written."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from know_your_space.cli import detect_main
from know_your_space.data import paths
from ood_shared import checkpoints
from ood_shared.results.record import read_result

LOGS = Path("logs/wrn/bloodmnist/in_latent_out_pix")
SHORT = ("--layers", "10", "--device", "cpu", "--no_download")
Fail = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, builders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OOD_DATA_DIR", raising=False)
    builders.write_eight(tmp_path / "data", ["bloodmnist", "octmnist"])
    builders.write_checkpoint("bloodmnist", 6)
    return tmp_path


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Fail:
    """Run the command, which must fail with one line; returns that line."""

    def call(*words: str) -> str:
        capsys.readouterr()
        try:
            status = detect_main([*SHORT, *words])
        except SystemExit as stop:
            status = int(stop.code or 0)
        lines = capsys.readouterr().err.splitlines()
        assert status == 2
        assert len(lines) == 1, lines
        assert lines[0].startswith("ood_detection.py: error: ")
        assert not LOGS.exists()
        return lines[0]

    return call


def test_an_unknown_set_is_named_with_the_nearest(place: Path, builders: ModuleType, fail: Fail) -> None:
    builders.write_checkpoint("bloodmnits", 6)
    assert "`bloodmnits` is not known. Did you mean `bloodmnist`" in fail("--in_dataset", "bloodmnits")


def test_a_missing_checkpoint_is_named_with_the_training_command(place: Path, fail: Fail) -> None:
    line = fail("--dir_name", "other")
    assert "ckpts/wrn/bloodmnist/other/other_m_in_-20.0-m_out_-7.0-T_1.0-ckpt_last.pth.tar" in line
    assert "python train_in_latent_out_pix.py --in_dataset bloodmnist --model_type wrn --dist" in line


def test_other_margins_name_another_checkpoint(place: Path, fail: Fail) -> None:
    line = fail("--m_in", "-10")
    assert "m_in_-10.0-m_out_-7.0" in line
    assert "Present there: in_latent_out_pix_m_in_-20.0" in line


def test_a_checkpoint_of_another_class_count_is_refused(place: Path, builders: ModuleType, fail: Fail) -> None:
    builders.write_checkpoint("bloodmnist", 8)
    line = fail()
    assert "was written for 8 classes, bloodmnist has 6 known ones (0, 1, 2, 3, 4, 6;" in line


@pytest.mark.parametrize("words", [("--layers", "16"), ("--widen-factor", "1")])
def test_a_checkpoint_of_another_network_is_refused(place: Path, fail: Fail, words: tuple[str, ...]) -> None:
    line = fail(*words)
    assert "does not fit a network of --layers" in line
    assert "Pass these as in training." in line


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"epoch": 3}, "holds no weights"),
        ({"state_dict": {"fc.bias": torch.ones(6)}}, "has no `state_dict` with `fc.weight`"),
        (None, "damaged or no checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(place: Path, fail: Fail, state: Any, says: str) -> None:
    file = paths.checkpoint_path(Path(), "wrn", "bloodmnist", paths.RUN, -20, -7, 1, True)
    if state is None:
        file.write_bytes(b"torch")
    else:
        checkpoints.save(file, state)
    assert says in fail()


def test_a_checkpoint_with_code_is_refused_and_not_run(place: Path, fail: Fail) -> None:
    file = paths.checkpoint_path(Path(), "wrn", "bloodmnist", paths.RUN, -20, -7, 1, True)
    torch.save({"state_dict": Touches(place / "ran")}, file)
    assert "could run code" in fail()
    assert not (place / "ran").exists()


class Touches:
    """Makes a pickle that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nan_weights_are_refused_before_anything_is_written(place: Path, builders: ModuleType, fail: Fail) -> None:
    def break_weights(state: dict[str, torch.Tensor]) -> None:
        state["fc.weight"][0, 0] = torch.nan

    builders.write_checkpoint("bloodmnist", 6, change=break_weights)
    line = fail()
    assert "`fc.weight` holds NaN or an infinity" in line
    assert "take another file" in line


def test_constant_scores_are_evaluated_with_a_warning(
    place: Path, builders: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def flatten(state: dict[str, torch.Tensor]) -> None:
        state["fc.weight"].zero_()

    builders.write_checkpoint("bloodmnist", 6, change=flatten)
    assert detect_main(["--out_test_dataset", "octmnist", *SHORT]) == 0
    assert "warning: all 18 scores of the ID set and octmnist are" in capsys.readouterr().err
    record, _ = read_result(LOGS)
    assert record["metrics"]["octmnist"]["auroc"]["value"] == 0.5
    assert record["legacy"]["octmnist"]["AUROC"] == 0


def test_one_image_is_enough(place: Path, builders: ModuleType) -> None:
    builders.write_csv(place / "data" / "bloodmnist", "val", "index,labels\n6,0\n")
    builders.write_csv(place / "data" / "bloodmnist", "novel", "index,labels\n18,5\n")
    assert detect_main(["--out_test_dataset", "bloodmnist", *SHORT]) == 0
    assert [len(scores) for scores in builders.read_scores(LOGS / "bloodmnist")] == [1, 1]


def test_sets_that_are_missing_are_named_and_the_others_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect_main([*SHORT]) == 0
    captured = capsys.readouterr()
    assert "absent, left out: dermamnist, organamnist," in captured.out
    assert "warning: tissuemnist was not scored. `tissuemnist` is absent" in captured.err
    record, _ = read_result(LOGS)
    assert record["ood_datasets"] == ["bloodmnist-novel", "octmnist"]
    assert next(iter(record["missing"])) == "dermamnist"


def test_every_set_missing_is_an_error(place: Path, fail: Fail) -> None:
    line = fail("--out_test_dataset", "dermamnist,pathmnist")
    assert "Every OOD set is missing: dermamnist, pathmnist." in line
    assert "textures, faces, photos and letters always are" in line


def test_a_missing_id_set_is_an_error(place: Path, builders: ModuleType, fail: Fail) -> None:
    builders.write_checkpoint("dermamnist", 5)
    assert "`dermamnist` is absent" in fail("--in_dataset", "dermamnist")


def test_novel_classes_that_are_asked_for_and_not_there_are_missing(
    place: Path, builders: ModuleType, fail: Fail
) -> None:
    builders.write_csv(place / "data" / "bloodmnist", "novel", "index,labels\n")
    line = fail("--out_test_dataset", "bloodmnist")
    assert "Every OOD set is missing: bloodmnist-novel. bloodmnist has no novel classes" in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--model_type", "resnet"), "--model_type `resnet` is not known"),
        (("--T", "0"), "not a number above 0"),
        (("--in_datset", "x"), "Did you mean `--in_dataset`"),
        (("--checkpoint", "lst"), "Did you mean `last`"),
        (("--dir_name", "../x"), "without slashes"),
        (("--out_test_dataset", "dermamnits"), "Did you mean `dermamnist`"),
        (("--out_test_dataset", "octmnist,octmnist"), "Name each set once"),
        (("--split_file", "none.yaml"), "none.yaml is missing"),
        (("--novel_classes", "3"), "the CSV files in"),
        (("--id_part", "test"), "has no test part"),
        (("--device", "gpu"), "is not a device"),
    ],
)
def test_a_wrong_flag_is_one_line(place: Path, fail: Fail, words: tuple[str, ...], says: str) -> None:
    assert says in fail(*words)


def test_a_hostile_pickle_of_another_set_stops_the_run(place: Path, fail: Fail, builders: ModuleType) -> None:
    import pickle

    (place / "data" / "bloodmnist" / "bloodmnist_combined.pkl").write_bytes(pickle.dumps(Touches(place / "ran")))
    assert "could run code" in fail()
    assert not (place / "ran").exists()


def test_a_full_disk_leaves_no_half_file(place: Path, fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    from know_your_space import evaluate

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(evaluate, "write_text", full)
    assert "No space left on device" in fail()


def test_scores_are_written_whole(tmp_path: Path) -> None:
    from know_your_space.evaluate import write_scores

    values = np.array([0.1, 1e-30, -3.0, np.float32(1) / 3], dtype=np.float32)
    write_scores(tmp_path, values, values[:1])
    assert (tmp_path / "scores_energy_In.txt").read_text() == "0.1\n1e-30\n-3.0\n0.33333334\n"
    assert (tmp_path / "scores_energy_Out.txt").read_text() == "0.1\n"

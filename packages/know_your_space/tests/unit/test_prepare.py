"""`prepare`: the authors' layout from an npz, with a manifest that states what was assumed."""

import csv
import json
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from know_your_space.cli import prepare_main
from know_your_space.data.prepare import arrange
from know_your_space.data.sets import Classes
from ood_shared.datasets import ImageSet


def rows(path: Path) -> tuple[list[int], list[int]]:
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    return [int(row["index"]) for row in read], [int(row["labels"]) for row in read]


def manifest(tmp_path: Path, name: str) -> dict:
    return json.loads((tmp_path / name / f"{name}_manifest.json").read_text())


@pytest.fixture
def blood(tmp_path: Path, builders: ModuleType) -> dict[str, np.ndarray]:
    with np.load(builders.write_medmnist(tmp_path, "bloodmnist")) as arrays:
        return dict(arrays)


def test_the_pickle_holds_train_val_and_test_in_this_order(tmp_path: Path, blood: dict[str, np.ndarray]) -> None:
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path)]) == 0
    content = pickle.loads((tmp_path / "bloodmnist" / "bloodmnist_combined.pkl").read_bytes())
    assert np.array_equal(content["images"], np.concatenate([blood[f"{s}_images"] for s in ("train", "val", "test")]))


@pytest.mark.parametrize("flags", [[], ["--val", "val+test"]])
def test_the_csv_files_list_the_documented_split(
    tmp_path: Path, blood: dict[str, np.ndarray], flags: list[str]
) -> None:
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path), *flags]) == 0
    labels = np.concatenate([blood[f"{split}_labels"][:, 0] for split in ("train", "val", "test")])
    novel = np.isin(labels, (5, 7))
    place = np.arange(len(labels))
    train, val = place < 24, (place >= 24) & (place < (48 if flags else 40))
    for words, mask in (("in_train", train & ~novel), ("in_val", val & ~novel), ("out", novel)):
        index, found = rows(tmp_path / "bloodmnist" / f"bloodmnist_{words}.csv")
        assert index == place[mask].tolist()
        assert found == labels[mask].tolist()


def test_grey_images_are_stored_without_a_channel(tmp_path: Path, builders: ModuleType) -> None:
    builders.write_medmnist(tmp_path, "octmnist")
    assert prepare_main(["octmnist", "--data_dir", str(tmp_path)]) == 0
    content = pickle.loads((tmp_path / "octmnist" / "octmnist_combined.pkl").read_bytes())
    assert content["images"].shape == (24, 28, 28)


def test_the_manifest_states_every_assumption(
    tmp_path: Path, builders: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    builders.write_medmnist(tmp_path, "dermamnist")
    assert prepare_main(["dermamnist", "--data_dir", str(tmp_path)]) == 0
    found = manifest(tmp_path, "dermamnist")
    assert list(found["novel_classes"]) == ["5", "6"]
    assert any("assumed" in line for line in found["assumptions"])
    assert any("official val split" in line for line in found["assumptions"])
    assert found["counts"]["novel"] == {"5": 6, "6": 6}
    assert found["rows_of_splits"] == {"train": [0, 21], "val": [21, 35], "test": [35, 42]}
    assert "CC BY-NC 4.0" in found["licence"]
    assert "assumption: the novel classes of dermamnist are 5, 6" in capsys.readouterr().out


def test_the_split_of_bloodmnist_is_no_assumption(
    tmp_path: Path, blood: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path)]) == 0
    assert any("documented by the authors" in line for line in manifest(tmp_path, "bloodmnist")["assumptions"])
    assert "assumption" not in capsys.readouterr().out


def test_own_data_are_prepared_with_a_split_file(tmp_path: Path, builders: ModuleType) -> None:
    folder = builders.write_folder(tmp_path / "scans", {"train": 3, "test": 2}, ("ill", "normal", "odd", "torn"))
    (tmp_path / "split.yaml").write_text("scans: {known: [ill, normal], novel: [odd]}")
    flags = ["--split_file", str(tmp_path / "split.yaml"), "--to", str(tmp_path / "data")]
    assert prepare_main([str(folder), *flags]) == 0
    found = manifest(tmp_path / "data", "scans")
    assert found["unused_classes"] == {"3": "torn"}
    assert {part: sum(counts.values()) for part, counts in found["counts"].items()} == {
        "train": 6,
        "val": 4,
        "novel": 5,
    }
    assert any("as there is no val split" in line for line in found["assumptions"])


def test_files_that_are_there_are_kept_unless_told(
    tmp_path: Path, blood: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bloodmnist", "--data_dir", str(tmp_path)]
    assert prepare_main(words) == 0
    assert prepare_main(words) == 2
    assert "is there already. Pass --overwrite" in capsys.readouterr().err
    assert prepare_main([*words, "--overwrite", "--novel_classes", "0"]) == 0
    assert list(manifest(tmp_path, "bloodmnist")["novel_classes"]) == ["0"]


def test_a_set_without_validation_images_is_refused(
    tmp_path: Path, builders: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 3, per_class={"train": 2})
    assert prepare_main([str(file), "--to", str(tmp_path)]) == 2
    assert "a validation part needs a split val or test" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_an_absent_set_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_main(["tissuemnist", "--data_dir", str(tmp_path), "--no_download"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("know_your_space prepare: error: `tissuemnist` is absent")
    assert error.endswith("Then run this again; --data_dir names another folder that holds it.\n")
    assert error.count("prepare") == 1  # no advice to do what was just done


def test_half_of_the_authors_files_elsewhere_is_one_line_with_something_else_to_do(
    tmp_path: Path, blood: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path)]) == 0
    (tmp_path / "bloodmnist" / "bloodmnist_in_val.csv").unlink()
    capsys.readouterr()
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path), "--to", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert "bloodmnist_in_val.csv missing" in error
    assert error.endswith("Restore them, or move the others away.\n")
    assert not (tmp_path / "other").exists()


def test_parts_do_not_overlap() -> None:
    labels = np.array([0, 1, 2, 0, 2], dtype=np.int64)
    one = ImageSet(np.zeros((5, 2, 2, 1), np.uint8), labels, ("a", "b", "c"), "", "x")
    _, parts = arrange({"train": one, "val": one, "test": one}, Classes((0,), (2,)), val_with_test=True)
    assert {name: part.rows.tolist() for name, part in parts.items()} == {
        "train": [0, 3],
        "val": [5, 8, 10, 13],
        "novel": [2, 4, 7, 9, 12, 14],
    }

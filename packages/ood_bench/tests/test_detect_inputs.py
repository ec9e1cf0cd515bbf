"""`ood-detect` on images of every kind: archives, arrays, scans, known sets."""

import csv
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from ood_bench import detect_command
from ood_bench.id_images import read_id_images
from ood_shared import contract, model_file
from ood_shared.datasets import load
from ood_shared.testing.medical import write_dicom, write_nifti
from PIL import Image


def run(*words: object) -> int:
    return detect_command.main([str(word) for word in words])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A detector of digits that are DICOM frames in a folder for each class, and others of them in many forms."""
    at = tmp_path_factory.mktemp("inputs")
    digits = load("digits", "train")
    for number, name in ((0, "round"), (1, "straight")):
        (at / "scans" / name).mkdir(parents=True)
        frames = digits.images[digits.labels == number][:100, :, :, 0]
        frames = np.kron(frames, np.ones((2, 2), np.uint8)).astype(np.uint16) * 16  # 16 bits, so that the window counts
        for part in range(20):
            where = at / "scans" / name / f"1.2.{number}.{part}"
            write_dicom(where, frames[5 * part : 5 * part + 5], WindowCenter=2048, WindowWidth=4096)
    words = ["fit", at / "scans", "--output", at / "model.ood", "--budget", "smoke", "--alarm-rate", "0.1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contract.COMMON, "smoke", replace(contract.COMMON["smoke"], steps=80))
        assert run(*words, "--no-check", "--device", "cpu") == 0
    return at


def test_a_folder_of_scans_is_scored_as_it_was_fitted(made, tmp_path) -> None:
    assert run("score", made / "model.ood", made / "scans", "--csv", tmp_path / "out.csv") == 0
    rows = rows_of(tmp_path / "out.csv")
    assert [row["file"] for row in rows[4:6]] == [
        str(made / "scans/round/1.2.0.0#4"),
        str(made / "scans/round/1.2.0.1#0"),
    ]
    assert len(rows) == 200
    right = [row["class"] == row["file"].split("/")[-2] for row in rows]
    assert np.mean(right) > 0.95
    assert np.mean([row["decision"] == "OOD" for row in rows]) < 0.2


def test_a_slice_is_explained_by_slices_of_the_folder_of_scans(made, tmp_path, capsys) -> None:
    word, picture = made / "scans/round/1.2.0.0#3", tmp_path / "n.png"
    assert run("explain", made / "model.ood", word, "--images", made / "scans", "--output", picture) == 0
    assert "nearest: round/1.2.0." in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("explain", made / "model.ood", word, "--images", made / "scans/round", "--output", picture) == 2
    assert "has no round/1.2.0." in capsys.readouterr().err
    assert run("explain", made / "model.ood", f"{made}/scans/round/1.2.0.0#5", "--output", picture) == 2
    assert "1.2.0.0 has no slice or frame 5; they are numbered from 0" in capsys.readouterr().err


def test_the_same_images_get_the_same_rows_in_every_form(made, tmp_path) -> None:
    images = load("letters", "test").images[:12]
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        (tmp_path / "x").mkdir()
        for number, image in enumerate(images):
            file = tmp_path / "x" / f"{number:02d}.png"
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file)
            archive.add(file, f"x/{number:02d}.png")
    np.savez_compressed(tmp_path / "x.npz", test_images=images, test_labels=np.zeros((12, 1), np.int64))
    tables = []
    for number, word in enumerate((tmp_path / "x", tmp_path / "x.tar.gz", tmp_path / "x.npz", "letters")):
        assert run("score", made / "model.ood", word, "--csv", tmp_path / f"{number}.csv") == 0
        rows = rows_of(tmp_path / f"{number}.csv")[:12]
        tables.append([{name: row[name] for name in row if name != "file"} for row in rows])
    assert tables[0] == tables[1] == tables[2] == tables[3]
    assert len(tables[0]) == 12


def test_slices_of_a_volume_are_rows_and_a_broken_volume_is_one(made, tmp_path) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.random.default_rng(0).normal(size=(20, 30, 5)))
    (tmp_path / "b.nii").write_bytes(b"no volume")
    assert run("score", made / "model.ood", tmp_path, "--csv", tmp_path / "out.csv") == 1
    rows = rows_of(tmp_path / "out.csv")
    assert [row["file"].rpartition("/")[2] for row in rows] == [*(f"a.nii.gz#{number}" for number in range(5)), "b.nii"]
    assert rows[-1]["decision"] == "unreadable"


def test_check_reads_known_sets(made, capsys) -> None:
    assert run("check", made / "model.ood", "letters") == 0
    assert "the batch is shifted" in capsys.readouterr().out


def test_a_split_that_is_none_is_one_line(made, tmp_path, capsys) -> None:
    assert run("score", made / "model.ood", "digits:trian", "--csv", tmp_path / "out.csv") == 2
    assert "Did you mean `train`" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_class_with_too_few_images_for_its_own_threshold_is_refused_before_training(folder_of_two, capsys):
    words = ["fit", str(folder_of_two), "--output", str(folder_of_two / "m.ood"), "--by-class"]
    assert detect_command.main(words) == 2
    found = capsys.readouterr()
    assert (
        "has 30 images of class 1, of which about 14 are held out; a threshold of its own at 0.05 needs 19" in found.err
    )
    assert "step" not in found.out


def test_copies_are_said(tmp_path, capsys) -> None:
    for number in range(6):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 20 * max(2, number)).save(tmp_path / "a" / f"{number}.png")
    read_id_images(str(tmp_path), None)
    assert "2 of 6 images are copies of others, pixel by pixel" in capsys.readouterr().out


def test_one_image_of_each_scan_calibrates(made) -> None:
    card = model_file.read_card(made / "model.ood")
    assert card["about"]["calibrated_on"] == "20 of the images, held out: one of each of 20 groups"
    assert "on average over calibration sets of 20;" in card["promise"]


def test_too_few_patients_for_the_rate_are_refused_before_training(folder_of_two, tmp_path, capsys) -> None:
    names = [path.relative_to(folder_of_two).as_posix() for path in sorted(folder_of_two.rglob("*.png"))]
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\n" + "".join(f"{name},{at % 36}\n" for at, name in enumerate(names)))
    assert run("fit", folder_of_two, "--output", tmp_path / "m.ood", "--group", table) == 2
    found = capsys.readouterr()
    assert "has 36 groups of images, of which 18 are held out; an alarm rate of 0.05 needs 19" in found.err
    assert "step" not in found.out


def test_groups_that_hold_out_a_whole_class_are_refused_before_training(folder_of_two, capsys):
    words = ["fit", str(folder_of_two), "--output", str(folder_of_two / "m.ood"), "--group", "1", "--alarm-rate", "0.5"]
    assert detect_command.main(words) == 2
    found = capsys.readouterr()
    assert "belong to groups that are held out" in found.err
    assert "step" not in found.out


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory):
    """200 images of the class 0 and 30 of the class 1."""
    at = tmp_path_factory.mktemp("two")
    random = np.random.default_rng(0)
    for name, count in (("0", 200), ("1", 30)):
        (at / name).mkdir()
        for number in range(count):
            Image.fromarray(random.integers(0, 255, (8, 8), np.uint8)).save(at / name / f"{number}.png")
    return at


def test_folders_of_patients_are_no_classes_where_that_is_said(folder_of_two):
    both = read_id_images(str(folder_of_two), None, "1", one_class=True)
    assert both.classes == (folder_of_two.name,)
    assert not both.images.labels.any()
    assert set(both.groups) == {"0", "1"}
    assert read_id_images(str(folder_of_two), None).classes == ("0", "1")


def test_a_threshold_by_class_is_refused_before_the_training_where_there_is_one_class(made, capsys):
    words = ["fit", made / "scans", "--one-class", "--by-class", "--output", made / "none.ood"]
    assert run(*words) == 2
    found = capsys.readouterr()
    assert "A threshold by class needs two classes or more; leave --by-class out." in found.err
    assert "check:" not in found.out
    assert not (made / "none.ood").exists()


def test_the_folders_of_a_csv_are_made(made, tmp_path):
    assert run("score", made / "model.ood", made / "scans" / "round", "--csv", tmp_path / "a" / "b" / "c.csv") == 0
    assert rows_of(tmp_path / "a" / "b" / "c.csv")

"""Own data as users bring it: labels of any form, lists of Windows, folders without splits, patients, packed scans."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.bootstrap import draw_counts
from ood_shared.contract import Request
from ood_shared.datasets import load, load_any_size
from ood_shared.datasets.benchmark import read_benchmark
from ood_shared.datasets.labels import read_labels
from ood_shared.datasets.parts import id_parts, split_classes
from ood_shared.datasets.survey import survey
from ood_shared.errors import InputError, MissingSplitError
from ood_shared.metrics import accuracy_interval, evaluate_with_intervals
from ood_shared.results.record import measure, pack_scores
from ood_shared.results.schema import split_groups
from PIL import Image

SPLITS = ("train", "val", "test")
RANDOM = np.random.default_rng(0)


def npz(path: Path, **labels: np.ndarray) -> Path:
    n = len(next(iter(labels.values())))
    images = RANDOM.integers(0, 256, (n, 8, 8)).astype(np.uint8)
    np.savez(path, **{f"{split}_images": images for split in labels}, **{f"{s}_labels": v for s, v in labels.items()})
    return path


def tree(root: Path, classes: list[str], parts: tuple[str, ...] = ("train", "test"), n: int = 10) -> Path:
    for part in parts:
        for number, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for place in range(n):
                Image.new("L", (8, 8), 10 * number + place).save(folder / f"{place}.png")
    return root


# labels


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, np.int64])
def test_one_hot_labels_are_the_column_of_the_1(tmp_path: Path, kind: type) -> None:
    numbers = np.arange(9) % 3
    path = npz(tmp_path / "h.npz", **dict.fromkeys(SPLITS, np.eye(3, dtype=kind)[numbers]))
    for split in SPLITS:
        found = load(str(path), split)
        assert found.labels.tolist() == numbers.tolist()
        assert found.classes == ("0", "1", "2")
        assert found.notes == ("labels are one-hot in 3 columns; the column of the 1 is the class",)


def test_columns_that_are_one_hot_in_one_split_alone_are_findings(tmp_path: Path) -> None:
    one_hot = np.eye(3, dtype=np.uint8)[np.arange(9) % 3]
    findings = one_hot.copy()
    findings[0] = 0
    found = load(str(npz(tmp_path / "f.npz", train=one_hot, test=findings)), "test")
    assert found.classes == ("none", "any")
    assert found.labels.tolist() == [0] + [1] * 8
    assert "`any` where one is set, else `none`" in found.notes[0]


@pytest.mark.parametrize(
    "given", [[1, 2, 3, 1, 2, 3], [[1], [2], [3], [1], [2], [3]], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], [5, 7, 9, 5, 7, 9]]
)
def test_labels_that_leave_numbers_out_make_no_class_without_images(tmp_path: Path, given: list) -> None:
    found = load(str(npz(tmp_path / "k.npz", **dict.fromkeys(SPLITS, np.array(given)))), "train")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.classes == tuple(str(int(np.ravel(label)[0])) for label in given[:3])
    assert "with numbers left out; the 3 that occur are the classes" in found.notes[0]


def test_a_class_that_a_split_lacks_has_its_number_in_the_others() -> None:
    found = read_labels("x", {"train": np.array([1, 2, 3]), "test": np.array([3, 3])})
    assert found.labels["test"].tolist() == [2, 2]
    assert found.classes == ("1", "2", "3")


def test_idx_labels_from_1_make_no_class_0(tmp_path: Path) -> None:
    for word, numbers in (("train", [1, 2, 3]), ("t10k", [3, 1, 1])):
        head = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2])
        (tmp_path / f"{word}-images-idx3-ubyte").write_bytes(head + bytes(12))
        (tmp_path / f"{word}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, *numbers]))
    found = load(str(tmp_path), "test")
    assert (found.labels.tolist(), found.classes) == ([2, 0, 0], ("1", "2", "3"))
    assert survey(tmp_path, "test").classes == found.classes


# lists


@pytest.mark.parametrize("line", ["train/a/0.png 0", "train\\a\\0.png 0", "train\\a/0.png 0"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_list_of_windows_is_read(tmp_path: Path, line: str, encoding: str, end: str) -> None:
    tree(tmp_path, ["a"])
    (tmp_path / "train_b.txt").write_bytes(f"{line}{end}".encode(encoding))
    found = load(str(tmp_path / "train_b.txt"), "train")
    assert found.names == ("train/a/0.png",)


def test_a_name_with_a_backslash_is_read_where_it_is_one(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a\\b.png")
    (tmp_path / "test_x.txt").write_text("a\\b.png 0\n")
    assert load(str(tmp_path / "test_x.txt"), "test").names == ("a\\b.png",)


@pytest.mark.parametrize("line", ["..\\a.png 0", "C:\\a.png 0", "a\\..\\..\\b.png 0"])
def test_a_path_of_windows_does_not_leave_the_folder(tmp_path: Path, line: str) -> None:
    (tmp_path / "test_x.txt").write_text(line)
    with pytest.raises(InputError, match="leads out of"):
        load(str(tmp_path / "test_x.txt"), "test")


# folders without splits


def request(root: Path, **more: object) -> Request:
    return Request(str(root), "gaussian", **more)  # type: ignore[arg-type]


def test_a_folder_without_splits_is_split_within_each_class(tmp_path: Path) -> None:
    tree(tmp_path / "n", ["a", "b", "c"], parts=(".",), n=30)
    train, test = id_parts(request(tmp_path / "n"), 8)
    assert np.bincount(train.labels).tolist() == [24] * 3
    assert np.bincount(test.labels).tolist() == [6] * 3
    assert not set(train.names or ()) & set(test.names or ())
    assert (
        "split by seed 0 within each class, 72 images (80 %) to train on and 18 (20 %) to test with" in train.notes[0]
    )
    again, other = (id_parts(request(tmp_path / "n", seed=seed), 8)[1].names for seed in (0, 1))
    assert again == test.names
    assert other != test.names
    with pytest.raises(MissingSplitError):
        load(str(tmp_path / "n"), "train")


def test_a_flat_folder_is_one_class(tmp_path: Path) -> None:
    tree(tmp_path, ["."], parts=(".",), n=20)
    train, test = id_parts(request(tmp_path), 8)
    assert (len(train), len(test), len(train.classes)) == (16, 4, 1)


def test_groups_stay_together_and_shares_stay_near_a_fifth() -> None:
    labels = np.repeat([0, 1], 100)
    groups = [f"{label}-{number // 5}" for number, label in enumerate(labels)]
    fit, held = split_classes(labels, groups, 0, ("a", "b"), "x")
    assert not {groups[at] for at in fit} & {groups[at] for at in held}
    assert np.bincount(labels[held]).tolist() == [20, 20]
    assert sorted([*fit, *held]) == list(range(200))


@pytest.mark.parametrize(("labels", "groups"), [([0, 1, 1], None), ([0, 0, 1, 1], ["p", "p", "q", "r"])])
def test_a_class_that_cannot_be_split_is_named(labels: list[int], groups: list[str] | None) -> None:
    with pytest.raises(InputError, match="its class `a` has"):
        split_classes(np.array(labels), groups, 0, ("a", "b"), "x")


def test_a_patient_in_both_splits_is_said(tmp_path: Path) -> None:
    tree(tmp_path, ["a/p1", "a/p2"])
    train, test = id_parts(request(tmp_path, group="3"), 8)
    assert "2 groups are in train and in test (p1, p2)" in train.notes[-1]
    assert "test images belong to 2 groups (--group 3), drawn together for intervals" in test.notes[-1]


def test_test_images_of_a_single_patient_are_said_to_be_so(tmp_path: Path) -> None:
    tree(tmp_path, ["a/p1"], parts=("train",))
    tree(tmp_path, ["a/p2"], parts=("test",))
    _, test = id_parts(request(tmp_path, group="3"), 8)
    assert "all test images belong to one group" in test.notes[-1]


def test_a_benchmark_carries_groups_and_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path, [f"{name}/{name}{number}" for name in "ab" for number in range(10)], parts=(".",), n=2)
    found = read_benchmark(request(tmp_path, group="2"), 8, 1, torch.Generator().manual_seed(0))
    assert found.train_groups is not None
    assert not set(found.train_groups) & set(found.groups[str(tmp_path)])
    assert len(found.groups[str(tmp_path)]) == len(found.test)
    said = capsys.readouterr().out
    assert said.count("no split into train and test") == 1
    assert len(found.notes) == len(set(found.notes))


def test_mixed_grey_and_colour_are_taken_as_colour_and_said(tmp_path: Path) -> None:
    tree(tmp_path, ["a"])
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "test" / "a" / "rgb.png")
    Image.new("L", (9, 9)).save(tmp_path / "test" / "a" / "large.png")
    found = load_any_size(str(tmp_path), "test", None, 8)
    assert found.images.shape == (12, 8, 8, 3)
    assert len(found.notes) == 2


def test_a_single_folder_around_the_classes_is_said(tmp_path: Path) -> None:
    tree(tmp_path, ["p1", "p2"], parts=("normal",))
    (note,) = load(str(tmp_path), "test").notes
    assert note.startswith("`normal` is the only folder, so the 2 folders in it are read as classes (p1, p2)")


# groups in intervals


def test_counts_of_groups_add_up_and_move_together() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    counts = draw_counts(np.random.default_rng(0), 500, 6, groups)
    assert np.allclose(counts.sum(axis=1), 6)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()


def test_an_interval_over_groups_is_that_of_as_many_independent_images() -> None:
    scores = np.repeat(RANDOM.normal(size=40), 25)  # 40 patients of 25 equal images
    ood = RANDOM.normal(1, 1, 400)
    groups = np.repeat(np.arange(40), 25)
    plain = evaluate_with_intervals(scores, ood, np.random.default_rng(0), 400)["auroc"]
    grouped = evaluate_with_intervals(scores, ood, np.random.default_rng(0), 400, (groups, None))["auroc"]
    alone = evaluate_with_intervals(scores[::25], ood, np.random.default_rng(0), 400)["auroc"]
    assert grouped["value"] == plain["value"]
    width = {name: found["high"] - found["low"] for name, found in (("p", plain), ("g", grouped), ("a", alone))}
    assert width["g"] > 2 * width["p"]
    assert width["g"] == pytest.approx(width["a"], rel=0.25)
    right = scores > 0
    low, high = accuracy_interval(right, np.random.default_rng(0), 1000, groups)
    thin_low, thin_high = accuracy_interval(right, np.random.default_rng(0), 1000)
    assert high - low > 2 * (thin_high - thin_low)


def test_groups_of_images_by_themselves_change_nothing_but_the_form() -> None:
    scores, ood = RANDOM.normal(size=50), RANDOM.normal(size=60)
    plain = evaluate_with_intervals(scores, ood, np.random.default_rng(0), 200)
    grouped = evaluate_with_intervals(scores, ood, np.random.default_rng(0), 200, (np.arange(50), np.arange(60)))
    for name, found in plain.items():
        assert grouped[name]["value"] == found["value"]
        assert grouped[name]["high"] - grouped[name]["low"] == pytest.approx(found["high"] - found["low"], rel=0.4)


def test_scores_keep_groups_and_a_single_class_has_no_accuracy() -> None:
    arrays = pack_scores(
        "id", (np.arange(4.0), np.zeros(4, int), None), {"o": (np.arange(3.0), None)}, {"id": ["p", "q", "p", "q"]}
    )
    own, other = split_groups(arrays)
    assert own is not None
    assert own.tolist() == [0, 1, 0, 1]
    assert other is None
    metrics, accuracy = measure(arrays, np.random.default_rng(0), 50)
    assert accuracy is None
    assert metrics["o"]["n_id"] == 4


# scans in archives


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_scans_in_an_archive_are_read_as_in_the_folder(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("nibabel")
    from ood_shared.testing.medical import write_dicom, write_nifti

    folder = tmp_path / "set"
    for split in ("train", "test"):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            write_dicom(folder / split / name / "scan.dcm", RANDOM.integers(0, 4096, (3, 8, 8)).astype(np.uint16))
            (folder / split / name / "scan.dcm").rename(folder / split / name / "IM1")  # known by its first bytes
            write_nifti(folder / split / name / "t1.nii.gz", RANDOM.normal(size=(8, 8, 4)).astype(np.float32))
    path = tmp_path / f"packed{ending}"
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for file in files:
                archive.add(file, str(file.relative_to(folder)))
    plain, packed = load(str(folder), "train"), load(str(path), "train")
    assert len(plain) == 2 * (3 + 4)
    assert packed.names == plain.names
    assert packed.labels.tolist() == plain.labels.tolist()
    assert np.array_equal(packed.images, plain.images)


def test_a_member_that_is_no_image_is_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("test/a/0.png", buffer.getvalue())
        archive.writestr("test/a/notes", b"no scan")
        archive.writestr("test/a/1.heic", b"x")
    found = load(str(tmp_path / "x.zip"), "test")
    assert len(found) == 1
    assert found.notes[0].startswith("1 of 2 files left out (.heic)")

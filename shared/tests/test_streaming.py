"""A user's words to images, one after another."""

import io
import os
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.decode import Encoded
from ood_shared.errors import InputError, MissingFileError
from ood_shared.streaming import pending_images, read_items, reading, walk
from ood_shared.testing.medical import write_dicom, write_nifti
from PIL import Image

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (7, 9), dtype=np.uint8)
PHOTO = RANDOM.integers(0, 256, (7, 9, 3), dtype=np.uint8)


def png(pixels: np.ndarray = GREY) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def names(*words: object) -> list[str]:
    return [item.name for item in read(*words)]


def read(*words: object) -> list[reading.Item[np.ndarray]]:
    return list(read_items(pending_images([str(word) for word in words]), lambda pixels: pixels))


def packed(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_folder_gives_files_before_folders_each_sorted_and_nothing_hidden(tmp_path) -> None:
    for name in ("b.png", "a.PNG", ".c.png", "z/2.png", "z/10.png", "k/x/1.png", "__MACOSX/1.png", "k/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    write_dicom(tmp_path / "k" / "1.2.3", GREY)
    (tmp_path / "z" / "again").symlink_to(tmp_path)  # a way back, which must end
    found = [name.removeprefix(f"{tmp_path}/") for name in names(tmp_path)]
    assert found == ["a.PNG", "b.png", "k/1.2.3", "k/x/1.png", "z/10.png", "z/2.png"]


def test_a_large_folder_is_listed_in_parts_and_comes_in_the_same_order(tmp_path, monkeypatch) -> None:
    for number in RANDOM.permutation(30):
        (tmp_path / f"{number:02d}.png").write_bytes(b"")
        (tmp_path / f"d{number:02d}").mkdir()
        (tmp_path / f"d{number:02d}" / "a.png").write_bytes(b"")
    whole = [file for file, _ in walk.files_below(str(tmp_path))]
    monkeypatch.setattr(walk, "LISTED", 7)
    assert [file for file, _ in walk.files_below(str(tmp_path))] == whole
    assert len(whole) == 60
    assert whole[:30] == sorted(whole[:30])


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_archives_give_their_members_in_stored_order(tmp_path, ending) -> None:
    write_dicom(tmp_path / "scan", np.stack([GREY, GREY]))
    write_nifti(tmp_path / "v.nii.gz", RANDOM.normal(size=(4, 5, 2)))
    members = {
        "b/2.png": png(PHOTO),
        "a/1.png": png(),
        "notes.txt": b"no image" * 40,
        ".hidden.png": png(),
        "scan": (tmp_path / "scan").read_bytes(),
        "v.nii.gz": (tmp_path / "v.nii.gz").read_bytes(),
    }
    archive = packed(tmp_path / f"x{ending}", members)
    items = read(archive)
    expected = ["b/2.png", "a/1.png", "scan#0", "scan#1", "v.nii.gz#0", "v.nii.gz#1"]
    assert [item.name for item in items] == [f"{archive}/{name}" for name in expected]
    assert not [item.problem for item in items if item.problem]
    assert (items[0].pixels == PHOTO).all()
    assert [item.pixels.tolist() for item in items[4:]] == [i.pixels.tolist() for i in read(tmp_path / "v.nii.gz")]


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_members_that_lead_out_are_refused_by_themselves(tmp_path, ending) -> None:
    archive = packed(tmp_path / f"x{ending}", {"../1.png": png(), "/2.png": png(), "3.png": png()})
    first, second, third = read(archive)
    assert "leads out of its folder" in first.problem
    assert "absolute path" in second.problem
    assert (third.pixels[..., 0] == GREY).all()


@pytest.mark.parametrize(("ending", "cut"), [(".tar", 0.5), (".tar.gz", 0.5), (".tar", "between"), (".zip", 0.5)])
def test_a_truncated_archive_gives_what_lies_before_the_cut_and_a_problem(tmp_path, ending, cut) -> None:
    noise = [png(RANDOM.integers(0, 256, (60, 60), dtype=np.uint8)) for _ in range(6)]
    archive = packed(tmp_path / f"x{ending}", {f"{number}.png": data for number, data in enumerate(noise)})
    data = archive.read_bytes()
    size = 512 + -(-len(noise[0]) // 512) * 512
    archive.write_bytes(data[: 2 * size] if cut == "between" else data[: int(len(data) * cut)])
    *good, last = read(archive)
    assert "truncated" in last.problem
    assert all(item.pixels is not None for item in good)
    assert len(good) == {".zip": 0}.get(ending, len(good))
    assert ending == ".zip" or 1 <= len(good) < 6


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_arrays_come_image_by_image(tmp_path, save) -> None:
    images = RANDOM.integers(0, 256, (5, 4, 6), dtype=np.uint8)
    colours = RANDOM.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    path = tmp_path / "six.npz"
    save(path, train_images=images, train_labels=np.zeros((5, 1)), test_images=colours, test_labels=np.zeros(2))
    items = read(path)
    assert [item.name for item in items][4:6] == [f"{path}/train_images#4", f"{path}/test_images#0"]
    assert (np.stack([item.pixels[..., 0] for item in items[:5]]) == images).all()
    assert (np.stack([item.pixels for item in items[5:]]) == colours).all()
    save(tmp_path / "one.npz", scans=images, sites=np.zeros(5, np.uint8))
    assert names(tmp_path / "one.npz")[0] == f"{tmp_path}/one.npz/scans#0"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 4, 4), np.float32)}, "float32"),
        ({"images": np.asfortranarray(np.zeros((3, 4, 4), np.uint8))}, "Fortran order"),
        ({"a": np.zeros((3, 4, 4), np.uint8), "b": np.zeros((3, 4, 4), np.uint8)}, "holds a, b"),
        ({"a": np.zeros((9, 9, 3), np.uint8)}, "holds a"),  # one colour image, or nine narrow grey ones
    ],
)
def test_other_arrays_are_refused_by_name(tmp_path, arrays, message) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    (item,) = read(tmp_path / "x.npz")
    assert item.pixels is None
    assert message in item.problem


def test_known_names_take_a_split(tmp_path, monkeypatch) -> None:
    test, train = read("digits"), read("Digits:train")
    assert test[3].name == "digits:test#3"
    assert train[0].name == "Digits:train#0"
    assert (np.stack([item.pixels for item in test]) == load("digits", "test").images).all()
    with pytest.raises(InputError, match="Did you mean `train`"):
        read("digits:trian")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "a.png").write_bytes(png())
    assert names("./digits") == ["./digits/a.png"]


def test_lists_name_files_of_all_kinds(tmp_path, monkeypatch) -> None:
    (tmp_path / "a b.png").write_bytes(png())
    np.savez(tmp_path / "x.npz", images=np.stack([GREY, GREY]))
    (tmp_path / "list.txt").write_text("a b.png 3\n\nx.npz -1\n../out.png 0\n")
    items = read(tmp_path / "list.txt")
    expected = [f"{tmp_path}/{name}" for name in ("a b.png", "x.npz/images#0", "x.npz/images#1", "list.txt")]
    assert [item.name for item in items] == expected
    assert "leads out" in items[-1].problem
    lines = f"{tmp_path}/a b.png\n\n{tmp_path}/none.png\n{tmp_path}/x.npz\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    items = read("-")
    assert [item.name for item in items] == [
        f"{tmp_path}/{n}" for n in ("a b.png", "none.png", "x.npz/images#0", "x.npz/images#1")
    ]
    assert "is missing" in items[1].problem


def test_a_word_that_names_nothing_is_refused_before_anything_is_read(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(MissingFileError, match=r"none\.png is missing; expected an image, a folder"):
        pending_images([str(tmp_path / "a.png"), str(tmp_path / "none.png")])


@pytest.mark.parametrize(
    "kind", ["png", "rgba.png", "palette.png", "jpg", "grey.jpg", "tif", "16.png", "dcm", "nii.gz"]
)
def test_a_file_has_the_same_pixels_in_training_and_in_scoring(tmp_path, kind) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "dcm":
        write_dicom(path, GREY.astype(np.uint16) * 9, WindowCenter=800, WindowWidth=900)
    elif kind == "nii.gz":
        write_nifti(path, RANDOM.normal(size=(6, 5, 4)))
    elif kind == "16.png":
        import cv2

        cv2.imwrite(str(path), PHOTO.astype(np.uint16) * 200)
    else:
        image = Image.fromarray(GREY if kind == "grey.jpg" else PHOTO)
        image = image.quantize(8) if kind == "palette.png" else image
        (image.convert("RGBA") if kind == "rgba.png" else image).save(path)
    loaded = load(str(tmp_path), "test").images
    assert (np.stack([item.pixels for item in read(tmp_path)]) == loaded).all()


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "b.dcm").write_bytes(b"no scan")
    (tmp_path / "c.png").write_bytes(png())
    bad, scan, good = read(tmp_path)
    assert "damaged or no image" in bad.problem
    assert "damaged or no DICOM file" in scan.problem
    assert (good.pixels[..., 0] == GREY).all()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch) -> None:
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png())
    scandir = os.scandir

    def refusing(folder):
        if Path(folder).name == "shut":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # root may list everything
    good, shut = read(tmp_path)
    assert good.pixels is not None
    assert shut.name == str(tmp_path / "shut")
    assert "Permission denied" in shut.problem


def test_no_more_than_a_few_batches_are_held_and_the_order_is_kept() -> None:
    lock, alive, most = threading.Lock(), set(), 0

    def pending():
        nonlocal most
        for number in range(3000):
            with lock:
                alive.add(number)
                most = max(most, len(alive))
            yield Encoded(0, str(number), np.full((1, 1, 1), number % 251, np.uint8))

    for number, item in enumerate(read_items(pending(), lambda pixels: int(pixels[0, 0, 0]))):
        assert (item.name, item.pixels) == (str(number), number % 251)
        with lock:
            alive.discard(number)
    assert most <= reading.CHUNK * (reading.AHEAD + 2)


def test_large_encoded_images_wait_in_bounded_room(monkeypatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    taken, given = 0, 0

    def pending():
        nonlocal taken
        for number in range(200):
            taken += 1
            yield Encoded(0, str(number), np.zeros((1, 1000, 1), np.uint8))

    for _ in read_items(pending(), lambda pixels: None):
        given += 1
        assert taken - given <= 12  # 10 of 1,000 bytes, one chunk that is being filled
    assert given == 200


def test_scans_in_archives_count_for_the_room(tmp_path, monkeypatch) -> None:
    scan = write_dicom(tmp_path / "a.dcm", np.zeros((40, 50), np.uint16)).read_bytes()
    volume = write_nifti(tmp_path / "v.nii", np.zeros((10, 20, 5), np.uint8)).read_bytes()
    archive = packed(tmp_path / "x.tar", {"a.dcm": scan, "v.nii": volume})
    held = [item.held for item in pending_images([str(archive)])]
    assert held == [len(scan)] + [(len(volume) + 1000) // 5] * 5
    assert sum(item.held for item in pending_images([str(tmp_path / "a.dcm")])) == 0  # read when it is decoded


def test_a_defect_in_the_conversion_is_not_taken_for_a_bad_image() -> None:
    def broken(pixels):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_items([Encoded(0, "a", np.zeros((1, 1, 1), np.uint8))], broken))

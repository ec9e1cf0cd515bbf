"""A folder with a DICOM series is a volume: its place, its unit, and what is said when it is none."""

from pathlib import Path
from typing import Any

import mood_dpa
import nibabel
import numpy as np
import pydicom
import pytest
from mood_dpa.data.dicom import is_series
from mood_dpa.data.volumes import codes_of, list_volumes, read_affine, read_volume
from ood_shared.errors import InputError
from ood_shared.testing.medical import write_dicom
from pydicom.data import get_testdata_file

from ..conftest import predict_config

ROWS, COLUMNS, SLICES = 12, 10, 8


def write_series(folder: Path, uid: str = "1.2.3", count: int = SLICES, **changes: Any) -> Path:
    """A CT of which each voxel tells its place: stored = 1 + column + 16 row + 256 slice, HU = stored / 2 - 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        row, column = np.mgrid[:ROWS, :COLUMNS]
        attributes = {
            "Modality": "CT",
            "SeriesInstanceUID": uid,
            "ImagePositionPatient": [-20.0, -30.0, 5.0 + 2.5 * number],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [3.0, 1.5],  # between rows, between columns
            "RescaleSlope": 0.5,
            "RescaleIntercept": -1000,
        }
        name = f"{(7 * number) % count:03d}.dcm"  # not in the order of their places
        write_dicom(folder / name, (1 + column + 16 * row + 256 * number).astype(np.int16), **{**attributes, **changes})
    return folder


def edit(path: Path, **attributes: Any) -> None:
    data = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(path)


def test_voxels_place_and_unit(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "ct"))
    assert volume.name == "ct.nii.gz"
    assert volume.data.shape == (COLUMNS, ROWS, SLICES)
    for column, row, part in ((0, 0, 0), (9, 11, 7), (3, 5, 2)):
        assert volume.data[column, row, part] == (1 + column + 16 * row + 256 * part) / 2 - 1000
        place = volume.affine @ [column, row, part, 1]  # in RAS: left and back of DICOM are negative
        np.testing.assert_allclose(place[:3], [20 - 1.5 * column, 30 - 3.0 * row, 5 + 2.5 * part])
    assert codes_of(volume.affine) == "LPS"
    np.testing.assert_array_equal(read_affine(tmp_path / "ct"), volume.affine)


def test_slices_are_sorted_along_their_normal_in_any_plane(tmp_path: Path) -> None:
    """Sagittal slices: rows go back, columns down, slices to the left."""
    folder = write_series(tmp_path / "mr", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    for path in folder.iterdir():
        number = float(pydicom.dcmread(path).ImagePositionPatient[2] - 5) / 2.5
        edit(path, ImagePositionPatient=[10.0 - 2.0 * number, 0, 0], RescaleSlope=None, RescaleIntercept=None)
    volume = read_volume(folder)
    assert codes_of(volume.affine) == "PIR"
    stored = np.unravel_index(int(volume.data.argmax()), volume.data.shape)
    assert volume.data.max() == 1 + 9 + 16 * 11 + 256 * 7  # stored units, where no slope is told
    place = volume.affine @ [*stored, 1]
    np.testing.assert_allclose(place[:3], [-(10 - 2.0 * 7), -(1.5 * 9), -3.0 * 11], atol=1e-6)


def test_the_files_that_pydicom_ships(tmp_path: Path) -> None:
    """One CT slice of them, set at four places."""
    for number in range(4):
        data = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, y, float(z) + 5.0 * number]
        (tmp_path / "ct").mkdir(exist_ok=True)
        data.save_as(tmp_path / "ct" / f"IM{number:04d}")  # without an ending
    volume = read_volume(tmp_path / "ct")
    shipped = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    wanted = shipped.pixel_array.astype(np.float32) * float(shipped.RescaleSlope) + float(shipped.RescaleIntercept)
    np.testing.assert_array_equal(volume.data[..., 2], wanted.T)
    first = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    (tmp_path / "mr").mkdir()
    for number in range(3):
        first.ImagePositionPatient = [0, 0, 4.0 * number]
        first.save_as(tmp_path / "mr" / f"{number}.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path / "mr").data[..., 1], first.pixel_array.T)


def test_commands_take_folders_of_series(prepared: Path, tmp_path: Path, run) -> None:
    for name in ("a", "b"):
        write_series(tmp_path / "in" / name)
    (tmp_path / "in" / "notes").mkdir()
    assert [path.name for path in list_volumes(tmp_path / "in")] == ["a", "b"]
    assert [path.name for path in list_volumes(tmp_path / "in" / "a")] == ["a"]
    assert "expected [0, 1]" in run("save-2d", "-i", tmp_path / "in", "-o", tmp_path / "x", "-a", 2).err
    assert run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "unit").status == 0
    assert sorted(path.name for path in (tmp_path / "unit").iterdir()) == ["a.nii.gz", "b.nii.gz"]
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "unit" / "a.nii.gz").affine, read_affine(tmp_path / "in" / "a"), atol=1e-5
    )
    words = ["--rescale", "window", "0", "2000"]
    assert run("save-2d", "-i", tmp_path / "in", "-o", tmp_path / "s", "-a", 2, *words).status == 0
    assert len(list((tmp_path / "s").glob("b_*.npy"))) == SLICES
    assert run("folds", "-i", tmp_path / "in", "-o", tmp_path / "folds.csv", "-n", 2, "--seed", 0).status == 0
    names = [line.split(",")[0] for line in (tmp_path / "folds.csv").read_text().split()[1:]]
    assert sorted(names) == ["a.nii.gz", "b.nii.gz"]
    config = predict_config(prepared, tmp_path)
    out = tmp_path / "out"
    found = run("predict-3d", "-i", tmp_path / "in", "-o", out, "-c", config, "--device", "cpu", *words)
    assert found.status == 0, found.err
    written = nibabel.load(out / "a.nii.gz")
    assert written.shape == (COLUMNS, ROWS, SLICES)
    detector = mood_dpa.load(config, rescale="window 0 2000", device="cpu")
    np.testing.assert_array_equal(detector.map(tmp_path / "in" / "a"), written.get_fdata(dtype=np.float32))
    words = [*words, "-m", tmp_path / "m"]
    assert "unknown argument" in run("synthetic", "-i", tmp_path / "in", "-o", tmp_path / "i", *words).error
    found = run("synthetic", "-i", tmp_path / "unit", "-o", tmp_path / "i", "-m", tmp_path / "m", "--seed", 1)
    assert found.status == 0, found.err


def second_series(folder: Path) -> None:
    edit(folder / "003.dcm", SeriesInstanceUID="9.8.7")


def gap(folder: Path) -> None:
    (folder / "000.dcm").rename(folder.parent / "kept")
    number = next(p for p in sorted(folder.iterdir()) if pydicom.dcmread(p).ImagePositionPatient[2] == 12.5)
    number.unlink()


def twice(folder: Path) -> None:
    edit(folder / "003.dcm", ImagePositionPatient=pydicom.dcmread(folder / "004.dcm").ImagePositionPatient)


def cut(folder: Path) -> None:
    (folder / "002.dcm").write_bytes((folder / "002.dcm").read_bytes()[:500])


def text(folder: Path) -> None:
    (folder / "002.dcm").write_text("hello")


BROKEN = {
    second_series: "holds 2 DICOM series, expected one a folder",
    gap: "a slice is missing or there twice",
    twice: "a slice is missing or there twice",
    cut: "002.dcm lacks Rows: it is cut short, or no slice",
    text: "002.dcm is damaged or no DICOM slice",
    lambda folder: edit(folder / "002.dcm", ImagePositionPatient=None): "lacks ImagePositionPatient",
    lambda folder: edit(folder / "002.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]): "differ in size, spacing",
    lambda folder: edit(folder / "002.dcm", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]): "no unit vectors",
    lambda folder: edit(folder / "002.dcm", PixelSpacing=[1.0, 1.5]): "differ in size, spacing",
    lambda folder: edit(folder / "002.dcm", PixelSpacing=[0.0, 1.5]): "spacing means nothing",
    lambda folder: edit(folder / "002.dcm", Rows=6): "differ in size",
    lambda folder: edit(folder / "002.dcm", NumberOfFrames=2): "2 frames",
    lambda folder: edit(folder / "002.dcm", SamplesPerPixel=3): "3 values a pixel",
    lambda folder: [path.unlink() for path in sorted(folder.iterdir())[1:]]: "1 DICOM slice",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: BROKEN[f])
def test_what_is_no_series_is_one_line(break_it: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_series(tmp_path / "ct")
    break_it(folder)
    capfd.readouterr()
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert BROKEN[break_it] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    folder = write_series(tmp_path / "ct")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install pydicom\."):
        read_volume(folder)


def test_other_folders_are_no_series(tmp_path: Path) -> None:
    assert not is_series(tmp_path)
    (tmp_path / "IM0001").write_bytes(b"x" * 200)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert not is_series(tmp_path)
    assert not is_series(tmp_path / "IM0001")


def test_slices_without_the_scale_of_the_others_are_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    edit(folder / "003.dcm", RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(InputError, match=r"000.dcm has a slope or an intercept and 003.dcm has none"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"RescaleSlope": 0}, "RescaleSlope is 0 and RescaleIntercept -1000"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "has the colours of a palette"),
        ({"NumberOfFrames": 2, "ImagePositionPatient": None}, "has 2 frames; expected one grey slice a file"),
    ],
)
def test_values_that_mean_nothing_are_refused(changes: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    for path in folder.iterdir():
        edit(path, **changes)
    with pytest.raises(InputError, match=wanted):
        read_volume(folder)


def test_a_modality_table_is_applied(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", count=2, RescaleSlope=None, RescaleIntercept=None)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [1024, 0, 16])
    table.add_new("LUTData", "US", list(range(2000, 2000 + 3 * 1024, 3)))
    for path in folder.iterdir():
        edit(path, ModalityLUTSequence=[table])
    volume = read_volume(folder)
    assert volume.data[3, 5, 1] == 2000 + 3 * (1 + 3 + 16 * 5 + 256)


def test_slices_beside_other_volumes_are_said_to_be_left_out(tmp_path: Path, capsys) -> None:
    write_series(tmp_path / "in")
    write_series(tmp_path / "in" / "inner")
    assert [path.name for path in list_volumes(tmp_path / "in")] == ["inner"]
    assert "holds DICOM slices beside other volumes; they are left out" in capsys.readouterr().err

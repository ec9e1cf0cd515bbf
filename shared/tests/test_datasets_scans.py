"""DICOM files with tables and padding, those that pydicom ships, and NIfTI headers that are none."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import dicom, load
from ood_shared.datasets.decode import decode
from ood_shared.datasets.dicom import read_frame
from ood_shared.datasets.nifti import Volume
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.slices import images_in
from ood_shared.errors import InputError
from ood_shared.testing.medical import write_dicom, write_nifti

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("pydicom.fileset")
pytest.importorskip("nibabel")
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.arange(0, 4000, 62, dtype=np.uint16)[:64].reshape(8, 8)


def test_padding_is_black_and_does_not_narrow_the_range(tmp_path: Path) -> None:
    stored = RAMP.astype(np.int16)
    stored[0] = -2000
    plain = read_frame("a", write_dicom(tmp_path / "a.dcm", stored), 0)
    padded = read_frame("b", write_dicom(tmp_path / "b.dcm", stored, PixelPaddingValue=-2000), 0)
    assert plain[1].min() > 80  # the range begins at -2000
    assert (padded[0] == 0).all()
    assert padded[1, 0, 0] == 0
    assert padded[-1, -1, 0] == 255
    inverted = {"PixelPaddingValue": -2000, "PhotometricInterpretation": "MONOCHROME1"}
    assert (read_frame("c", write_dicom(tmp_path / "c.dcm", stored, **inverted), 0)[0] == 0).all()


def table(values: list[int], first: int, bits: int) -> object:
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = np.array(values, "<u2").tobytes()
    return pydicom.Sequence([item])


def test_a_voi_table_serves_where_there_is_no_window(tmp_path: Path) -> None:
    stored = (np.arange(64) % 4).astype(np.uint16).reshape(8, 8)
    path = write_dicom(tmp_path / "a.dcm", stored, VOILUTSequence=table([0, 4095, 1365, 2730], 0, 12))
    assert read_frame("a", path, 0)[0, :4, 0].tolist() == [0, 255, 85, 170]


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    stored = (np.arange(64) % 4).astype(np.uint16).reshape(8, 8)
    more = {"ModalityLUTSequence": table([0, 100, 200, 300], 0, 16)}
    more["ModalityLUTSequence"][0].ModalityLUTType = "US"
    path = write_dicom(tmp_path / "a.dcm", stored, **more)
    assert read_frame("a", path, 0)[0, :4, 0].tolist() == [0, 85, 170, 255]


def test_a_range_takes_the_place_of_the_window_where_more_than_8_bits_are_stored(tmp_path: Path) -> None:
    """In units of the modality, here Hounsfield: 10 x - 1000."""
    stored = np.array([[0, 100, 140, 200], [50, 100, 100, 100]], np.uint16)
    more = {"RescaleSlope": 10, "RescaleIntercept": -1000, "WindowCenter": 40, "WindowWidth": 400}
    path, depths = write_dicom(tmp_path / "ct.dcm", stored, **more), []
    assert read_frame("ct", path, 0, Range(-1000, 400), depths)[..., 0].tolist() == [
        [0, 182, 255, 255],
        [91, 182, 182, 182],
    ]
    assert depths == [(-1000, 1000)]
    assert read_frame("ct", path, 0)[..., 0].tolist() != read_frame("ct", path, 0, Range(-1000, 400))[..., 0].tolist()
    inverted = write_dicom(tmp_path / "one.dcm", stored, PhotometricInterpretation="MONOCHROME1", **more)
    assert read_frame("one", inverted, 0, Range(-1000, 400))[0, :3, 0].tolist() == [255, 73, 0]
    narrow = write_dicom(tmp_path / "us.dcm", stored.astype(np.uint8))
    assert (read_frame("us", narrow, 0, Range(-1000, 400)) == read_frame("us", narrow, 0)).all()


def test_a_range_takes_the_place_of_the_quantiles_of_a_volume_and_is_noted(tmp_path: Path) -> None:
    voxels = np.linspace(-1000, 1000, 2 * 4 * 4).astype(np.int16).reshape(4, 4, 2)
    (tmp_path / "set").mkdir()
    write_nifti(tmp_path / "set" / "ct.nii.gz", voxels)
    found = load(tmp_path / "set", "test", span=Range(-1000, 400))
    expected = np.floor(np.clip((voxels + 1000.0) / 1400, 0, 1) * 255 + 0.5)
    assert (found.images[:, :, :, 0] == expected.transpose(2, 0, 1)).all()
    assert any("values from -1000 to 400 become 0 to 255 (found: -1000 to 1000)" in note for note in found.notes)


def test_a_deflated_file_is_read_and_one_that_would_be_huge_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_dicom(tmp_path / "plain.dcm", RAMP)
    packed = write_dicom(tmp_path / "packed.dcm", RAMP, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    assert (read_frame("packed", packed, 0) == read_frame("plain", plain, 0)).all()
    assert (read_frame("packed", packed.read_bytes(), 0) == read_frame("plain", plain, 0)).all()
    monkeypatch.setattr(dicom, "MOST_INFLATED", 100)
    with pytest.raises(InputError, match="packed is deflated and would be larger than 0 MiB"):
        read_frame("packed", packed, 0)


@pytest.mark.parametrize(
    "changed", [{"RescaleSlope": 0, "RescaleIntercept": 3}, {"RescaleSlope": 1, "RescaleIntercept": "1e400"}]
)
def test_a_scale_that_makes_all_values_one_or_none_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a has RescaleSlope"):
        read_frame("a", write_dicom(tmp_path / "a.dcm", RAMP, **changed), 0)


def test_a_dicomdir_is_named_as_what_it_is(tmp_path: Path) -> None:
    fileset = pydicom.fileset.FileSet()
    for number in range(2):
        path = write_dicom(
            tmp_path / f"{number}.dcm", RAMP, PatientID="p", StudyInstanceUID="1.2", SeriesInstanceUID="1.3"
        )
        more = pydicom.dcmread(path)
        more.Modality, more.StudyDate, more.StudyTime, more.StudyID = "CT", "20260101", "120000", "1"
        more.SeriesNumber, more.InstanceNumber, more.PatientName = 1, number, "p"
        fileset.add(more)
    fileset.write(tmp_path / "fileset")
    index = tmp_path / "fileset" / "DICOMDIR"
    with pytest.raises(InputError, match="is a DICOMDIR, which lists other files"):
        list(images_in(str(index), index))
    with pytest.raises(InputError, match=r"DICOMDIR lists other files and holds no image\. Name its folder"):
        load(index, "test")
    assert len(load(tmp_path / "fileset", "test").images) == 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SC_rgb_rle_16bit.dcm", (100, 100, 3)),
        ("examples_palette.dcm", (350, 800, 3)),
        ("CT_small.dcm", (128, 128, 1)),
        ("MR_small.dcm", (64, 64, 1)),
        ("examples_ybr_color.dcm", (240, 320, 3)),
        ("JPEG2000.dcm", (1024, 256, 1)),
    ],
)
def test_files_that_pydicom_ships_are_read(name: str, shape: tuple[int, int, int]) -> None:
    if not (SHIPPED / name).is_file():
        pytest.skip(f"this pydicom does not ship {name}")
    pixels = decode(next(iter(images_in(name, SHIPPED / name))))
    assert pixels.shape == shape
    assert pixels.max() > pixels.min()


def test_every_file_that_pydicom_ships_is_read_or_refused_in_one_line() -> None:
    said = []
    for path in sorted(SHIPPED.glob("*.dcm")):
        try:
            decode(next(images_in(path.name, path)))
        except InputError as error:
            said.append(str(error))
    assert all("\n" not in text and len(text) < 400 for text in said)


def header(**changed: bytes) -> bytes:
    """A NIfTI file of 4 x 4 x 4 bytes, with bytes of the header replaced: at_<offset>."""
    data = bytearray(348 + 4 + 64)
    data[0:4], data[344:348] = struct.pack("<i", 348), b"n+1\0"
    data[40:56] = struct.pack("<8h", 3, 4, 4, 4, 1, 1, 1, 1)
    data[70:74] = struct.pack("<2h", 2, 8)
    data[76:108] = struct.pack("<8f", 1, 1, 1, 1, 1, 1, 1, 1)
    data[108:112], data[112:116] = struct.pack("<f", 352), struct.pack("<f", 1)
    data[352:] = bytes(range(64))
    for place, value in changed.items():
        at = int(place.removeprefix("at_"))
        data[at : at + len(value)] = value
    return bytes(data)


BAD = {
    "datatype": {"at_70": struct.pack("<h", 77)},
    "rgb": {"at_70": struct.pack("<2h", 128, 24)},
    "complex": {"at_70": struct.pack("<2h", 32, 64)},
    "ndim 9": {"at_40": struct.pack("<h", 9)},
    "ndim negative": {"at_40": struct.pack("<h", -3)},
    "no voxels": {"at_42": struct.pack("<h", 0)},
    "large": {"at_42": struct.pack("<3h", 32767, 32767, 32767)},
    "offset negative": {"at_108": struct.pack("<f", -9)},
    "offset huge": {"at_108": struct.pack("<f", 1e12)},
    "offset nan": {"at_108": struct.pack("<f", float("nan"))},
    "magic": {"at_344": b"nope"},
    "size of the header": {"at_0": struct.pack("<i", 999)},
    "slope nan": {"at_112": struct.pack("<f", float("nan"))},
    "slope infinite": {"at_112": struct.pack("<f", float("inf"))},
    "intercept nan": {"at_116": struct.pack("<f", float("nan"))},
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_a_header_that_is_none_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str, packed: bool
) -> None:
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    data = header(**BAD[case])
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError) as caught:
        load(str(path), "test")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert capfd.readouterr().err == ""


def test_the_header_of_these_tests_is_read_when_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "v.nii").write_bytes(header())
    assert load(str(tmp_path / "v.nii"), "test").images.shape == (4, 4, 4, 1)


def test_big_endian_and_the_second_version_are_read(tmp_path: Path) -> None:
    import nibabel

    voxels = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for name, image in (
        ("big.nii", nibabel.Nifti1Image(voxels, np.eye(4), nibabel.Nifti1Header(endianness=">"))),
        ("two.nii", nibabel.Nifti2Image(voxels, np.eye(4))),
    ):
        nibabel.save(image, tmp_path / name)
        assert load(str(tmp_path / name), "test").images.max() == 255


@pytest.mark.parametrize(("name", "other"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii")])
def test_a_volume_that_is_named_as_packed_or_not_is_read_by_what_it_is(tmp_path: Path, name: str, other: str) -> None:
    voxels = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    path = write_nifti(tmp_path / name, voxels)
    right = [Volume(name, path).slice(number) for number in range(3)]
    wrong = path.rename(tmp_path / other)
    assert np.array_equal(right, [Volume(other, wrong).slice(number) for number in range(3)])
    assert np.array_equal(right, [Volume(other, wrong.read_bytes()).slice(number) for number in range(3)])


def test_infinite_voxels_are_one_line_without_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_nifti(tmp_path / "a.nii", np.full((4, 4, 4), 1e300))
    with pytest.raises(InputError, match="not finite"):
        load(str(path), "test")
    assert capfd.readouterr().err == ""

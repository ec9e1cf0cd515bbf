"""DICOM frames and NIfTI slices as images of 8 bits."""

import gzip
import sys

import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.decode import decode
from ood_shared.datasets.slices import images_in
from ood_shared.errors import InputError, MissingFileError
from ood_shared.testing.medical import write_dicom, write_nifti
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless

CT = np.array([[0, 824, 1024], [1064, 1264, 4095]], np.uint16)  # -1024, -200, 0, 40, 240 and 3071 HU


def pixels(path) -> list[list[list[int]]]:
    return [decode(item)[..., 0].tolist() for item in images_in(str(path), path)]


def test_the_first_window_maps_rescaled_values(tmp_path) -> None:
    path = write_dicom(
        *(tmp_path / "a.dcm", CT), RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 500], WindowWidth=[401, 2]
    )
    # By hand, PS3.3 C.11.2.1.2.1: ((x - 39.5) / 400 + 0.5) * 255 of -200, 0, 40, 240
    assert pixels(path) == [[[0, 0, 102], [128, 255, 255]]]


@pytest.mark.parametrize(
    ("function", "expected"),
    # By hand for c = 1024, w = 400: ((x - c) / w + 0.5) * 255; 255 / (1 + exp(-4 (x - c) / w))
    [("LINEAR_EXACT", [[0, 0, 128], [153, 255, 255]]), ("SIGMOID", [[0, 30, 128], [153, 234, 255]])],
)
def test_other_window_functions(tmp_path, function, expected) -> None:
    path = write_dicom(tmp_path / "a", CT, WindowCenter=1024, WindowWidth=400, VOILUTFunction=function)
    assert pixels(path) == [expected]


def test_without_a_window_a_frame_goes_from_its_smallest_to_its_largest_value(tmp_path) -> None:
    frames = np.stack([CT, CT // 2 + 7, np.full_like(CT, 5)])
    whole = np.floor(CT / 4095 * 255 + 0.5).astype(int)
    first, second, constant = pixels(write_dicom(tmp_path / "a.dcm", frames))
    assert first == whole.tolist()
    assert np.abs(np.array(second) - whole).max() <= 1
    assert np.array(constant).max() == 0


def test_monochrome1_is_inverted_and_signed_values_are_read(tmp_path) -> None:
    values = np.array([[-100, 0, 155]], np.int16)
    path = write_dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    assert pixels(path) == [[[255, 155, 0]]]


def test_frames_are_named_and_have_their_own_values(tmp_path) -> None:
    def group(keyword: str, **values: float) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for name, value in values.items():
            setattr(inner, name, value)
        setattr(outer, keyword, Sequence([inner]))
        return outer

    shared = group("FrameVOILUTSequence", WindowCenter=128, WindowWidth=256)
    own = [group("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=0) for slope in (1, 2)]
    path = write_dicom(
        *(tmp_path / "a.dcm", np.array([[[0, 100]], [[0, 100]]], np.uint8)),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(own),
        RescaleSlope=50,
    )
    assert [item.name for item in images_in("a.dcm", path)] == ["a.dcm#0", "a.dcm#1"]
    assert pixels(path) == [[[0, 100]], [[0, 200]]]


def test_colours_are_taken_as_they_are(tmp_path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    (item,) = images_in("a", write_dicom(tmp_path / "a", colours))
    assert item.name == "a"
    assert (decode(item) == colours).all()


def test_bytes_are_read_as_files_are(tmp_path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.stack([CT, CT.T.reshape(CT.shape)]))
    assert [decode(item).tolist() for item in images_in("a", path.read_bytes())] == [
        decode(item).tolist() for item in images_in("a", path)
    ]
    volume = write_nifti(tmp_path / "v.nii.gz", np.random.default_rng(0).normal(size=(3, 4, 5)))
    assert [decode(item).tolist() for item in images_in("v.nii.gz", volume.read_bytes())] == [
        decode(item).tolist() for item in images_in("v.nii.gz", volume)
    ]


def test_a_compression_that_cannot_be_decoded_is_one_line(tmp_path) -> None:
    from pydicom.encaps import encapsulate

    path = write_dicom(tmp_path / "a.dcm", CT, syntax=JPEGLSLossless, PixelData=encapsulate([b"\0" * 64]))
    with pytest.raises(InputError, match=r"a\.dcm is compressed as `JPEG-LS Lossless.*pip install pylibjpeg"):
        pixels(path)


def test_broken_dicom_files_are_refused(tmp_path) -> None:
    path = write_dicom(tmp_path / "a.dcm", CT)
    data = path.read_bytes()
    path.write_bytes(data[:-6])
    with pytest.raises(InputError, match="is damaged"):
        pixels(path)
    for keyword, value, message in (
        ("PhotometricInterpretation", "PALETTE COLOR", "No suitable Palette Color"),
        ("PhotometricInterpretation", "XYB", "expected MONOCHROME1"),
        ("Rows", 0, "without an image"),
        ("Rows", 60000, "at most"),
        ("WindowWidth", 0, "window LINEAR of width 0"),
    ):
        attributes = {keyword: value, "WindowCenter": 1} | ({"Columns": 60000} if value == 60000 else {})
        with pytest.raises(InputError, match=message):
            pixels(write_dicom(tmp_path / "a.dcm", CT, **attributes))
    (tmp_path / "b.dcm").write_bytes(b"no DICOM at all")
    with pytest.raises(InputError, match="damaged or no DICOM file"):
        pixels(tmp_path / "b.dcm")
    with pytest.raises(MissingFileError):
        pixels(tmp_path / "c.dcm")


def test_slices_of_a_volume_share_its_range(tmp_path) -> None:
    voxels = np.linspace(-50, 950, 10 * 20 * 30).reshape(10, 20, 30).astype(np.float32)
    voxels[0, 0, 0] = 1e6  # one voxel, beyond the quantile
    path = write_nifti(tmp_path / "v.nii.gz", voxels)
    items = list(images_in("v.nii.gz", path))
    assert [item.name for item in items[:2]] == ["v.nii.gz#0", "v.nii.gz#1"]
    assert len(items) == 30
    low, high = np.quantile(voxels, (0.005, 0.995))
    expected = np.floor(np.clip((voxels.astype(float) - low) / (high - low), 0, 1) * 255 + 0.5)
    found = np.concatenate([decode(item) for item in items], axis=2)  # (10, 20, 30)
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.99


def test_a_mask_keeps_its_two_values(tmp_path) -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[2, 3, 4] = 1  # less than half a percent
    found = pixels(write_nifti(tmp_path / "mask.nii", mask))
    assert found[4][2][3] == 255
    assert np.array(found).sum() == 255


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.zeros((3, 3, 3, 2), np.float32), "expected three"),
        (np.full((3, 3, 3), np.nan, np.float32), "not finite"),
        (np.zeros((3, 3, 3), np.complex64), "real numbers"),
    ],
)
def test_volumes_that_are_not_read_are_named(tmp_path, voxels, message) -> None:
    with pytest.raises(InputError, match=rf"v\.nii.*{message}"):
        pixels(write_nifti(tmp_path / "v.nii", voxels))


def test_a_volume_cut_short_is_refused(tmp_path) -> None:
    noise = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    path = write_nifti(tmp_path / "v.nii.gz", noise)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="damaged or no NIfTI volume"):
        pixels(path)
    (tmp_path / "w.nii.gz").write_bytes(gzip.compress(b"text"))
    with pytest.raises(InputError, match="damaged or no NIfTI volume"):
        pixels(tmp_path / "w.nii.gz")


def test_folders_of_scans_are_loaded_with_a_class_a_folder(tmp_path) -> None:
    for name in ("ct", "mr"):
        (tmp_path / name).mkdir()
    write_dicom(tmp_path / "ct" / "1.2.840.1", np.stack([CT, CT]))  # no ending, two frames
    Image.fromarray(np.full((2, 3), 9, np.uint8)).save(tmp_path / "ct" / "b.png")
    write_nifti(tmp_path / "mr" / "v.nii.gz", np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4))
    (tmp_path / "mr" / "notes.txt").write_text("no image")
    images = load(str(tmp_path))
    assert images.classes == ("ct", "mr")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert images.images.shape == (7, 2, 3, 1)
    assert (images.images[2] == 9).all()
    assert load(str(tmp_path), size=8).images.shape == (7, 8, 8, 1)
    assert len(load(str(tmp_path / "mr" / "v.nii.gz"))) == 4


@pytest.mark.parametrize(("library", "name"), [("pydicom", "a.dcm"), ("nibabel", "v.nii")])
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, library, name) -> None:
    write = write_dicom if name == "a.dcm" else write_nifti
    path = write(tmp_path / name, CT if name == "a.dcm" else np.zeros((2, 2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        InputError, match=rf"needs {library}, .*pip install {library} \(extra `medical` of ood-shared\)"
    ):
        pixels(path)

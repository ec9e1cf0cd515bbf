"""NIfTI files of every odd kind: read as the standard means them, or one line that names the file."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.data.intensities import Rule
from mood_dpa.data.names import is_volume, list_volumes
from mood_dpa.data.volumes import read_volume, write_volume
from ood_shared.errors import InputError

from ..conftest import AFFINE, phantom, predict_config, write_phantoms

PLACES = {  # of the fields of a header
    **{"sizeof_hdr": (0, "<i"), "ndim": (40, "<h"), "dim1": (42, "<h"), "datatype": (70, "<h"), "bitpix": (72, "<h")},
    **{"vox_offset": (108, "<f"), "scl_slope": (112, "<f"), "scl_inter": (116, "<f"), "magic": (344, "<4s")},
    **{"pixdim1": (80, "<f"), "dim4": (48, "<h")},
}


def changed(path: Path, **fields: object) -> Path:
    """A volume whose header says something else."""
    content = bytearray(nibabel.Nifti1Image(phantom(0, 8), AFFINE).to_bytes())
    for name, value in fields.items():
        at, form = PLACES[name]
        struct.pack_into(form, content, at, value)
    path.write_bytes(gzip.compress(bytes(content)) if path.name.endswith(".gz") else bytes(content))
    return path


def kind(path: Path, dtype: object) -> Path:
    """A volume with voxels of another kind."""
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), dtype), AFFINE), path)
    return path


def test_intensities_that_float32_does_not_hold_are_refused(tmp_path: Path) -> None:
    data = np.ones((4, 4, 4))
    data[0, 0, 0] = 1e300
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.nii\.gz has intensities beyond 3\.4e\+38"):
        read_volume(tmp_path / "a.nii.gz", finite=False)
    data[0, 0, 0] = np.inf
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), tmp_path / "b.nii.gz")
    assert np.isinf(read_volume(tmp_path / "b.nii.gz", finite=False).data).sum() == 1


def packed_twice(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.compress(nibabel.Nifti1Image(phantom(0, 8), AFFINE).to_bytes())))


def other_checksum(path: Path) -> None:
    content = bytearray(gzip.compress(nibabel.Nifti1Image(phantom(0, 8), AFFINE).to_bytes()))
    content[-8] ^= 1
    path.write_bytes(content)


def without_checksum(path: Path) -> None:
    path.write_bytes(gzip.compress(nibabel.Nifti1Image(phantom(0, 8), AFFINE).to_bytes())[:-8])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "rgb": (lambda path: kind(path, [("R", "u1"), ("G", "u1"), ("B", "u1")]), "has RGB voxels"),
    "rgba": (lambda path: kind(path, [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "has RGBA voxels"),
    "complex64": (lambda path: kind(path, np.complex64), "has complex voxels"),
    "complex128": (lambda path: kind(path, np.complex128), "has complex voxels"),
    "checksum": (other_checksum, "CRC check failed"),
    "no checksum": (without_checksum, "end-of-stream marker was reached"),
    "vox_offset zero": (lambda path: changed(path, vox_offset=0), "its header would be read as voxels"),
    "gzip of gzip": (packed_twice, "packed by gzip twice"),
    "bits": (lambda path: changed(path, datatype=1, bitpix=1), "has one-bit voxels"),
    "unknown datatype": (lambda path: changed(path, datatype=77), "77"),
    "slope nan": (lambda path: changed(path, scl_slope=np.nan), "scl_slope is nan"),
    "slope inf": (lambda path: changed(path, scl_slope=np.inf), "scl_slope is inf"),
    "inter inf": (lambda path: changed(path, scl_inter=-np.inf), "scl_inter -inf"),
    "slope huge": (lambda path: changed(path, scl_slope=3e38, scl_inter=3e38), "beyond 3.4e+38"),
    "sizeof_hdr": (lambda path: changed(path, sizeof_hdr=999), "sizeof_hdr is 999"),
    "ndim 9": (lambda path: changed(path, ndim=9), "damaged"),
    "ndim negative": (lambda path: changed(path, ndim=-1), "damaged"),
    "dim negative": (lambda path: changed(path, dim1=-3), ""),
    "dim zero": (lambda path: changed(path, dim1=0), ""),
    "dim too large": (lambda path: changed(path, dim1=32767), "cut short"),
    "vox_offset negative": (lambda path: changed(path, vox_offset=-352), ""),
    "vox_offset nan": (lambda path: changed(path, vox_offset=np.nan), "damaged"),
    "vox_offset huge": (lambda path: changed(path, vox_offset=1e9), ""),
    "magic of a pair": (lambda path: changed(path, magic=b"ni1\0"), "not a NIfTI volume in one file"),
    "no magic": (lambda path: changed(path, magic=b"\0\0\0\0"), "not a NIfTI volume in one file"),
    "empty": (lambda path: path.write_bytes(b""), "cut short"),
    "text": (lambda path: path.write_text("<html>not found</html>"), "cut short"),
    "gzip of nothing": (lambda path: path.write_bytes(gzip.compress(b"")), "cut short"),
    "half a gzip": (lambda path: path.write_bytes(changed(path).read_bytes()[:300]), "cut short"),
    "series": (
        lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), "f4"), AFFINE), path),
        "4 dimensions",
    ),
    "vectors": (lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), "f4"), AFFINE), path), "5 dim"),
    "plane": (lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), "f4"), AFFINE), path), "2 dimensions"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line_without_lines_of_a_library(name: str, tmp_path: Path, capfd) -> None:
    path = tmp_path / "c0.nii.gz"
    break_it, words = BROKEN[name]
    break_it(path)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    text = str(caught.value)
    assert "\n" not in text
    assert words in text
    assert str(path) in text
    assert capfd.readouterr().err == ""


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "c0.nii")
    with pytest.raises(InputError, match="is a pipe"):
        read_volume(tmp_path / "c0.nii")


def test_trailing_axes_of_length_1_are_dropped(tmp_path: Path) -> None:
    data = phantom(1, 8)
    for number, shape in enumerate([(8, 8, 8, 1), (8, 8, 8, 1, 1)]):
        nibabel.save(nibabel.Nifti1Image(data.reshape(shape), AFFINE), tmp_path / f"{number}.nii.gz")
        np.testing.assert_array_equal(read_volume(tmp_path / f"{number}.nii.gz").data, data)


@pytest.mark.parametrize("name", ["a.nii.gz", "b.nii", "C.NII.GZ", "d.Nii"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_is_unpacked_when_it_is_packed_whatever_its_name(name: str, packed: bool, tmp_path: Path) -> None:
    content = nibabel.Nifti1Image(phantom(2, 8), AFFINE).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert is_volume(name)
    assert [path.name for path in list_volumes(tmp_path)] == [name]
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.data, phantom(2, 8))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders_are_read_with_their_scale(kind: type, order: str, tmp_path: Path) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(np.arange(27, dtype=np.int16).reshape(3, 3, 3), np.eye(4), header)
    image.header.set_slope_inter(0.5, 1.0)
    image.to_filename(tmp_path / "a.nii.gz")
    expected = nibabel.load(tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.data, expected.get_fdata(dtype=np.float32))
    write_volume(tmp_path / "b.nii.gz", volume.data, volume)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii.gz").affine, expected.affine)


def test_a_header_that_promises_more_than_the_file_holds_costs_no_memory(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(phantom(0, 8), AFFINE).to_bytes())
    struct.pack_into("<3h", content, 42, 32767, 32767, 32767)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="promises 140724603846652 bytes"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_bad_volume_never_stops_the_others(tmp_path: Path, prepared: Path, run) -> None:
    """RGB (F6) first, then as many broken ones as there are kinds, one good one at the end; of every command."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(sorted(BROKEN)):
        BROKEN[name][0](folder / f"{number:05d}.nii.gz")
    write_volume(folder / "99999.nii.gz", phantom(1), AFFINE)
    config = predict_config(prepared, tmp_path)
    commands = {
        "save-2d": ["-a", "0", "--packed"],
        "predict-3d": ["-c", config, "--device", "cpu"],
        "rescale": [],
        "synthetic": ["-m", tmp_path / "masks"],
    }
    for command, words in commands.items():
        found = run(command, "-i", folder, "-o", tmp_path / command, *words)
        assert f"{len(BROKEN)} of {len(BROKEN) + 1} volumes could not be used" in found.error
        assert "99999.nii.gz" not in found.err
        assert any(path.name.startswith("99999") for path in (tmp_path / command).iterdir()), command
        remarks = [line for line in found.err.splitlines() if line.startswith("error: ")]
        assert len(remarks) == len(BROKEN)
        assert max(map(len, found.err.splitlines())) < 700


def test_nan_is_replaced_on_request(tmp_path: Path, run) -> None:
    data = phantom(0, 8)
    data[:2] = np.nan
    data[2, 0, 0] = np.inf
    write_volume(tmp_path / "in" / "a.nii.gz", data, AFFINE)
    found = run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "out")
    assert "rescale --nan 0" in found.err
    assert found.status == 2
    assert run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "out", "--nan", "0", "--low", "0").status == 0
    written = read_volume(tmp_path / "out" / "a.nii.gz").data
    assert not written[:2].any()
    assert written.max() == 1
    for value in ("nan", "inf", "x"):
        assert "--nan" in run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "o2", "--nan", value).error


def test_air_becomes_exactly_0_with_body(tmp_path: Path, run) -> None:
    draws = np.random.default_rng(0)
    body = phantom(0) > 0
    data = np.where(body, 40 + 20 * phantom(0), -1000) + draws.normal(0, 5, body.shape)
    write_volume(tmp_path / "in" / "a.nii.gz", data.astype(np.float32), AFFINE)
    assert run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "plain").status == 0
    assert (read_volume(tmp_path / "plain" / "a.nii.gz").data[~body] > 0).mean() > 0.9
    for name, words in {"otsu": [], "number": ["-500"]}.items():
        assert run("rescale", "-i", tmp_path / "in", "-o", tmp_path / name, "--body", *words).status == 0
        written = read_volume(tmp_path / name / "a.nii.gz").data
        assert not written[~body].any()
        assert 0.3 < written[body].mean() < 0.7
        assert written.max() == 1
    found = run("rescale", "-i", tmp_path / "in", "-o", tmp_path / "none", "--body", "5000")
    assert "no voxel above the threshold 5000" in found.err
    assert not (tmp_path / "none").exists()


def test_the_rules_give_these_numbers() -> None:
    data = np.array([-1000.0, -160, 40, 240, 3000], np.float32)
    np.testing.assert_allclose(Rule.of("window 40 400").apply(data, "x"), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(Rule.of("minmax").apply(data, "x"), [0, 0.21, 0.26, 0.31, 1])
    np.testing.assert_allclose(Rule.of("percentile 25 75").apply(data, "x"), [0, 0, 0.5, 1, 1])
    assert not Rule.of("minmax").apply(np.full(3, 7.0), "x").any()


WRONG = (
    *("", "windw 40 400", "window 40", "window 40 0", "window nan 3", "window 1 1e400", "window a b"),
    *("percentile 50 20", "percentile -1 50", "percentile 1 101", "percentile 1 99 3", "minmax 3"),
)


@pytest.mark.parametrize("words", WRONG)
def test_a_rule_that_is_none_is_refused(words: str, tmp_path: Path, run) -> None:
    with pytest.raises(InputError):
        Rule.of(words)
    if words:
        found = run("save-2d", "-i", tmp_path, "-o", tmp_path / "o", "-a", 0, "--rescale", *words.split())
        assert "--rescale" in found.error


def test_names_that_are_no_utf8_are_refused_before_the_work(tmp_path: Path, prepared: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 1)
    (folder / b"a\xff.nii.gz".decode("utf-8", "surrogateescape")).write_bytes((folder / "00000.nii.gz").read_bytes())
    config = predict_config(prepared, tmp_path)
    for command, words in {"save-2d": ["-a", 0], "predict-3d": ["-c", config], "rescale": [], "folds": []}.items():
        assert "is not UTF-8" in run(command, "-i", folder, "-o", tmp_path / "out", *words).error
        assert not (tmp_path / "out").exists()


def test_an_affine_in_metres_has_small_numbers_and_is_read(tmp_path: Path) -> None:
    """Voxels of 30 micrometres: their volume is 2.7e-14 cubic metres, and no sign of a flat affine."""
    affine = np.array([[-3e-5, 0, 0, 0.1], [0, 2e-5, 1e-5, 0.2], [0, -1e-5, 2e-5, 0.1], [0, 0, 0, 1]])
    write_volume(tmp_path / "a.nii.gz", phantom(0, 8), affine)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").affine, affine, rtol=1e-5)


def test_bytes_behind_the_packed_volume_mean_nothing(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", phantom(0, 8), AFFINE)
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes() + b"\0\0garbage")
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").data, phantom(0, 8))

"""NIfTI in and out."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.data.volume_queue import own_share
from mood_dpa.data.volumes import case_id, list_volumes, read_volume, rescaled, write_volume
from ood_shared.errors import InputError

from ..conftest import AFFINE


def test_what_is_written_opens_with_the_affine_and_codes_of_its_input(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((5, 6, 7), np.float32), AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE, 2)
    nibabel.save(image, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    write_volume(tmp_path / "out.nii.gz", volume.data, volume)
    found = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(found.affine, nibabel.load(tmp_path / "in.nii.gz").affine)
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == (4, 2)
    np.testing.assert_array_equal(found.get_fdata(dtype=np.float32), volume.data)


def test_a_volume_without_any_code_keeps_the_affine_it_was_read_with(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), None)
    image.header["pixdim"][1:4] = (2, 3, 4)
    nibabel.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    write_volume(tmp_path / "out.nii", volume.data, volume)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").affine, volume.affine)


def test_integer_files_are_read_with_their_scale(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(0.5, 1.0)
    nibabel.save(image, tmp_path / "in.nii.gz")
    expected = np.asarray(nibabel.load(tmp_path / "in.nii.gz").dataobj)
    np.testing.assert_allclose(read_volume(tmp_path / "in.nii.gz").data, expected)


def test_listing_takes_volumes_only(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii", "notes.txt", ".hidden.nii.gz", "x.gz"):
        (tmp_path / name).touch()
    assert [path.name for path in list_volumes(tmp_path)] == ["a.nii", "b.nii.gz"]


def test_the_case_ends_at_the_first_underscore_or_dot() -> None:
    assert [case_id(n) for n in ("00012.nii.gz", "00012_anom.nii.gz", "00012_3.npy")] == ["00012"] * 3


def test_rescaling_puts_the_percentiles_at_0_and_1() -> None:
    found = rescaled(np.linspace(-1000, 2000, 1001).reshape(7, 11, 13), 0, 100)
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2, 3)])
def test_other_than_three_dimensions_are_refused(shape: tuple, tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="dimensions"):
        read_volume(tmp_path / "x.nii.gz")


def test_processes_of_a_torchrun_divide_the_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [Path(f"{n}.nii.gz") for n in range(7)]
    found = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        found += own_share(paths)
    assert sorted(found) == paths

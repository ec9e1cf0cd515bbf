"""What an overlay shows: the file's own place of the greatest value, sides, mm, one scale, no colour in air."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.data.volumes import Volume
from mood_dpa.figures import CONVENTION, FAINTEST, scale_of, write_overlays
from mood_dpa.planes import SIDES, body_of, planes_of

from ..conftest import AFFINE, phantom

TURNS = {
    "RAS": np.diag([2.0, 3.0, 4.0, 1.0]),
    "LPS": np.diag([-2.0, -3.0, 4.0, 1.0]),
    "PSR": np.array([[0, 0, 4.0, 1], [-2, 0, 0, 2], [0, 3, 0, 3], [0, 0, 0, 1]]),
    "LSA": AFFINE,
}


def hot(at: tuple[int, int, int], height: float = 1.0) -> np.ndarray:
    found = np.zeros((24, 24, 24), np.float32)
    found[at] = height
    return found


@pytest.mark.parametrize("codes", TURNS)
def test_the_planes_name_the_voxel_of_the_file_and_its_millimetres(codes: str) -> None:
    affine, at = TURNS[codes], (13, 10, 8)
    assert "".join(nibabel.aff2axcodes(affine)) == codes
    found = planes_of(Volume("a.nii.gz", phantom(0), affine), hot(at))
    value, voxel, place = found.greatest
    assert (value, voxel) == (1.0, at)
    np.testing.assert_allclose(place, (affine @ [*at, 1])[:3])
    for plane, (title, name) in enumerate(zip(found.titles, ("sagittal", "coronal", "axial"), strict=True)):
        axis = next(i for i, code in enumerate(codes) if code in ("LR", "PA", "IS")[plane])
        assert title.startswith(f"{name}, voxel {at[axis]} of axis {axis}, {'xyz'[plane]} = ")
        assert title.endswith(f"{place[plane]:.1f} mm")
        assert found.heat[plane].max() == 1  # every plane goes through it


@pytest.mark.parametrize("codes", TURNS)
def test_the_letters_tell_where_the_sides_are(codes: str) -> None:
    """A light in the patient's right, front, upper corner stands where the letters say."""
    affine = TURNS[codes]
    corners = [(i, j, k) for i in (3, 20) for j in (3, 20) for k in (3, 20)]
    right_front_up = max(corners, key=lambda voxel: float((affine @ [*voxel, 1])[:3].sum()))
    found = planes_of(Volume("a", np.ones((24, 24, 24), np.float32), affine), hot(right_front_up))
    for plane, (left, right, bottom, top) in enumerate(SIDES):
        row, column = np.unravel_index(int(found.heat[plane].argmax()), found.heat[plane].shape)
        assert (right if column > 12 else left) in "RA"
        assert (top if row > 12 else bottom) in "AS"


def test_air_is_dark_and_hangs_together_with_the_border() -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[4:16, 4:16, 4:16] = 0.6
    image[8:12, 8:12, 8:12] = 0  # a ventricle
    image += np.random.default_rng(0).uniform(0, 0.01, image.shape)  # the noise of air
    wanted = np.zeros(image.shape, bool)
    wanted[4:16, 4:16, 4:16] = True
    np.testing.assert_array_equal(body_of(image), wanted)
    assert not body_of(np.zeros((5, 5, 5), np.float32)).any()


def test_the_greatest_value_in_air_is_passed_over_and_not_coloured() -> None:
    anomaly = hot((0, 0, 0), 9.0) + hot((12, 12, 12), 1.0)
    found = planes_of(Volume("a", phantom(0), AFFINE), anomaly)
    assert found.greatest[:2] == (1.0, (12, 12, 12))
    assert found.upper < 9
    everywhere = planes_of(Volume("a", phantom(0), AFFINE), np.ones((24,) * 3, np.float32))
    for body, image in zip(everywhere.body, everywhere.image, strict=True):
        assert not body[image == 0][:3].any()


def test_an_empty_volume_can_be_drawn(tmp_path: Path) -> None:
    found = planes_of(Volume("a", np.zeros((5, 6, 7), np.float32), AFFINE), np.zeros((5, 6, 7), np.float32), score=0.0)
    assert scale_of([found]) == 1.0
    (path,) = write_overlays(tmp_path / "pictures", tmp_path / "r.html", "t", [found])
    assert path.stat().st_size > 5000


def test_all_volumes_of_a_call_have_one_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy volume does not glow like a sick one."""
    limits = []
    shapes = phantom(0) > 0
    healthy, sick = (planes_of(Volume(n, phantom(0), AFFINE), shapes * h) for n, h in (("a", 0.01), ("b", 0.8)))
    assert scale_of([healthy, sick]) == pytest.approx(0.8)
    assert scale_of([healthy]) == pytest.approx(0.01)
    assert FAINTEST > 0.01 / 0.8  # which leaves the healthy one without colour

    from mood_dpa import figures

    draw = figures.draw
    monkeypatch.setattr(figures, "draw", lambda path, part, limit: limits.append(limit) or draw(path, part, limit))
    write_overlays(tmp_path / "pictures", tmp_path / "r.html", "Anomaly maps", [healthy, sick])
    assert limits == [pytest.approx(0.8)] * 2
    page = (tmp_path / "r.html").read_text()
    assert CONVENTION.split(":")[0] in page
    assert "One scale for all volumes of this page, up to 0.8." in page

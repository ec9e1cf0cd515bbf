"""Hard subjects and anomalies that a threshold on intensities does not show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mood_dpa.data import subjects
from mood_dpa.data.folds import cases_of, read_folds
from mood_dpa.data.subjects import DIFFICULTIES, EASY, HARD, DemoSet, ensure_subjects, make_subject
from mood_dpa.data.subtle_anomalies import KINDS, NOISE, add_subtle_anomaly
from mood_dpa.data.volumes import case_id, list_volumes, read_volume
from ood_shared.errors import InputError
from ood_shared.testing.commands import Outcome
from scipy.ndimage import gaussian_filter

from ..conftest import AFFINE, phantom

SIDE = 32


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A ball with smooth tissue, intensities 0.2 to 0.8, air outside."""
    tissue = gaussian_filter(np.random.default_rng(5).standard_normal((SIDE,) * 3), 1.5)
    tissue = 0.2 + 0.6 * (tissue - tissue.min()) / np.ptp(tissue)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 3, indexing="ij"))
    return np.where((grid**2).sum(0) < 0.8, tissue, 0).astype(np.float32)


def ellipsoid_radius(call: dict[str, list[float]]) -> np.ndarray:
    """Distance of each voxel to the centre; 1 on the surface."""
    offset = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")).reshape(3, -1)
    offset = offset - np.array(call["centers"])[:, None]
    turned = np.array(call["turn"]).reshape(3, 3) @ offset / np.array(call["radii"])[:, None]
    return np.sqrt((turned**2).sum(0)).reshape((SIDE,) * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_anomaly_changes_its_ellipsoid_only_and_leaves_the_heads_outline(kind: str, head: np.ndarray) -> None:
    found = add_subtle_anomaly(head, np.random.default_rng(1), kind)
    inside, mask = ellipsoid_radius(found.calls[0]) < 1, found.mask > 0
    assert np.array_equal(found.image[~inside], head[~inside])
    assert np.array_equal(found.image > 0, head > 0)
    assert mask.any()
    assert not (mask & ~(inside & (head > 0))).any()
    assert (found.image != head)[mask].mean() > 0.8  # a mirror leaves its own plane


@pytest.mark.parametrize("kind", KINDS)
def test_equal_draws_give_equal_anomalies(kind: str, head: np.ndarray) -> None:
    one, two, other = (add_subtle_anomaly(head, np.random.default_rng(seed), kind) for seed in (3, 3, 4))
    assert np.array_equal(one.image, two.image)
    assert not np.array_equal(one.image, other.image)


def test_texture_keeps_the_mean_of_its_place(head: np.ndarray) -> None:
    found = add_subtle_anomaly(head, np.random.default_rng(2), "texture")
    change = (found.image - head)[found.mask > 0]
    assert abs(change.mean()) < 0.1 * change.std()


@pytest.mark.parametrize("kind", ["deformation", "mirrored"])
def test_moved_tissue_has_no_new_intensity(kind: str, head: np.ndarray) -> None:
    for seed in range(4):
        found = add_subtle_anomaly(head, np.random.default_rng(seed), kind)
        tissue = head[head > 0]
        assert tissue.min() <= found.image[found.mask > 0].min() <= found.image.max() <= tissue.max()


def test_a_matched_anomaly_has_the_mean_of_its_rim_and_no_structure(head: np.ndarray) -> None:
    found = add_subtle_anomaly(head, np.random.default_rng(6), "matched")
    radius = ellipsoid_radius(found.calls[0])
    core, rim = found.image[radius < 0.7], head[(radius > 1) & (radius < 1.4) & (head > 0)]
    assert core.mean() == pytest.approx(rim.mean(), abs=4 * NOISE / np.sqrt(core.size) + 1e-6)
    assert core.std() == pytest.approx(NOISE, rel=0.3)


def test_a_tumour_is_strongest_at_its_centre(head: np.ndarray) -> None:
    found = add_subtle_anomaly(head, np.random.default_rng(7), "tumour")
    radius, change = ellipsoid_radius(found.calls[0]), np.abs(found.image - head)
    assert change[radius < 0.3].mean() > 2 * change[(radius > 0.7) & (radius < 0.9)].mean() > 0


def test_unknown_kinds_and_volumes_without_a_head_are_refused(head: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"tumor.*tumour"):
        add_subtle_anomaly(head, np.random.default_rng(0), "tumor")
    with pytest.raises(InputError, match="no head"):
        add_subtle_anomaly(np.zeros_like(head), np.random.default_rng(0), "tumour")


def test_a_head_without_room_is_refused() -> None:
    thin = np.zeros((SIDE,) * 3, np.float32)
    thin[:, SIDE // 2] = 0.5
    with pytest.raises(InputError, match="no ellipsoid"):
        add_subtle_anomaly(thin, np.random.default_rng(0), "tumour")


def test_hard_subjects_share_fewer_voxels_than_easy_ones() -> None:
    template = np.zeros((SIDE,) * 3, np.float32)
    template[6:26, 8:22, 10:24] = 0.6

    def shared(difficulty: str) -> float:
        """Share of a head's voxels that lie in another's."""
        variation = DIFFICULTIES[difficulty]
        heads = [make_subject(template, np.random.default_rng((0, n)), variation) > 0 for n in range(8)]
        return float(np.mean([(a & b).sum() / a.sum() for a in heads for b in heads if a is not b]))

    easy, hard = shared(EASY), shared(HARD)
    assert easy > 0.87 > 0.84 > hard, (easy, hard)


def test_the_record_of_easy_subjects_is_that_of_earlier_versions() -> None:
    assert DemoSet().stored() == {"count": 20, "test": 4, "side": 64, "seed": 0}
    assert DemoSet(difficulty=HARD).stored()["difficulty"] == HARD


def test_no_training_sees_a_hard_test_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "mni152", lambda side: (phantom(0, side), AFFINE))
    ensure_subjects(tmp_path, DemoSet(count=9, test=6, side=SIDE, difficulty=HARD))
    rows = read_folds(tmp_path / "folds.csv")
    seen = {case_id(path.name) for axis in range(3) for path in (tmp_path / f"2d_axis_{axis}").glob("*.npy")}
    assert cases_of(rows, "val", 0) == {"00000"}
    assert cases_of(rows, "train", 0) == {"00001", "00002"}
    assert seen == {"00000", "00001", "00002"}
    files = [path.name for path in list_volumes(tmp_path / "test_images")]
    healthy = [f"{number:05d}.nii.gz" for number in range(3, 9)]
    ill = [f"{number:05d}_{(*KINDS, KINDS[0])[number - 3]}.nii.gz" for number in range(3, 9)]
    assert files == sorted(healthy + ill) == [path.name for path in list_volumes(tmp_path / "test_masks")]
    for names, has_mask in ((healthy, False), (ill, True)):
        assert all(read_volume(tmp_path / "test_masks" / name).data.any() == has_mask for name in names)


def test_difficulties_that_do_not_exist_and_sets_without_training_are_refused(
    tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    with pytest.raises(InputError, match=r"hart.*hard"):
        ensure_subjects(tmp_path / "a", DemoSet(difficulty="hart"))
    found = run("subjects", tmp_path / "b", "--count", 3, "--test", 2, "--difficulty", "hard")
    assert (found.status, (tmp_path / "b").exists()) == (2, False)
    assert "--test 2 leaves 1 of 3 subjects" in found.error

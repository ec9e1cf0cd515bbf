"""The set of a spurious correlation: what goes together, what is in no other split, and the folder."""

import numpy as np
import pytest
from ascood.data.spurious import (
    BACKGROUNDS,
    CLASSES,
    EMPTY,
    MANIFEST,
    Settings,
    empty_part,
    foreign_part,
    id_part,
    write_spurious,
)
from ascood.data.suites import make_suite
from ood_shared.errors import InputError


@pytest.mark.parametrize(("split", "share"), [("train", 0.75), ("val", 0.5), ("test", 0.5)])
def test_each_class_has_its_background_in_the_share_that_is_asked_for(split, share):
    part = id_part(split, Settings(correlation=0.75))
    for label in range(len(CLASSES)):
        own = part.backgrounds[part.labels == label] == label
        assert own.sum() == round(share * len(own))


def test_without_ink_a_digit_leaves_its_background_as_it_is():
    part, plain = id_part("val", Settings()), id_part("val", Settings(opacity=0))
    bare = part.ink == 0
    assert 0.5 < bare.mean() < 0.95
    np.testing.assert_array_equal(part.images[bare], plain.images[bare])
    assert not plain.ink.any()
    assert (part.images != plain.images)[~bare].mean() > 0.5


def test_spurious_images_show_both_backgrounds_equally_and_belong_to_no_class():
    for part in (empty_part(Settings()), foreign_part(Settings())):
        assert np.bincount(part.backgrounds).tolist() == [len(part.images) // 2] * len(BACKGROUNDS)
        assert set(part.labels) == {-1}
    assert not empty_part(Settings()).ink.any()
    assert foreign_part(Settings()).ink.any(axis=(1, 2)).all()


def test_the_same_seed_gives_the_same_images_and_another_one_others():
    first, again, other = (id_part("val", Settings(seed=seed)).images for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).all()


def test_a_share_beyond_one_is_refused():
    with pytest.raises(InputError, match=r"correlation is 1\.5"):
        Settings(correlation=1.5)


def test_the_folder_is_a_suite_and_is_kept_only_for_the_same_settings(place):
    write_spurious(place / "set")
    suite = make_suite(f"folder:{place / 'set'}", None)
    assert suite.class_names == tuple(CLASSES)
    assert [source.name for source in suite.near] == ["backgrounds", "foreign"]
    assert [source.name for source in suite.far] == ["faces", "grass", "letters", "photos"]
    assert len(suite.near[0].load()) == EMPTY
    written = (place / "set" / MANIFEST).stat().st_mtime_ns
    write_spurious(place / "set")
    assert (place / "set" / MANIFEST).stat().st_mtime_ns == written
    with pytest.raises(InputError, match="not with these settings"):
        write_spurious(place / "set", Settings(seed=1))
    assert [path.name for path in place.iterdir()] == ["set"]

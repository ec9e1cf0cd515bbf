"""Images that belong together: slices of a scan, and rows of a CSV."""

from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets.groups import group_names, of_scans
from ood_shared.datasets.imageset import ImageSet
from ood_shared.errors import InputError


def set_of(*names: str) -> ImageSet:
    pixels = np.zeros((len(names), 4, 4, 1), np.uint8)
    return ImageSet(pixels, np.zeros(len(names), np.int64), ("a",), "ours", "mine", names=names)


def test_slices_belong_to_their_scan() -> None:
    names = ("a/s.nii.gz#3", "a/s.nii.gz#17", "b/IM0001#0", "b/x.png")
    assert of_scans(set_of(*names)) == ("a/s.nii.gz", "a/s.nii.gz", "b/IM0001", "b/x.png")


def test_a_hash_in_the_name_of_a_file_or_folder_is_no_slice() -> None:
    assert of_scans(set_of("c#/1.png", "c#2/1.png", "f/img#1.png", "#5")) is None
    assert group_names(("c#/1.png", "d/1.png"), "mine", "1") == ("c#", "d")


def test_a_csv_that_contradicts_itself_is_refused(tmp_path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("file,patient\na/1.png,p1\n\na/1.png,p1\na/2.png,p2\n")
    assert group_names(("a/1.png", "a/2.png"), "mine", str(table)) == ("p1", "p2")
    table.write_text("file,patient\na/1.png,p1\na/1.png,p2\n")
    with pytest.raises(InputError, match=r"line 3: a/1\.png has the groups `p1` and `p2`"):
        group_names(("a/1.png",), "mine", str(table))
    table.write_text("file,patient\na/1.png,p1,x\n")
    with pytest.raises(InputError, match=r"line 2: found 3 columns"):
        group_names(("a/1.png",), "mine", str(table))


def test_blanks_around_a_group_make_no_other_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\na.png,p0 \nb.png, p0\n")
    assert group_names(("a.png", "b.png"), "x", str(table)) == ("p0", "p0")
    table.write_text("file,patient\na.png,p0\nb.png, \n")
    with pytest.raises(InputError, match=r"line 3: b.png has no group"):
        group_names(("a.png", "b.png"), "x", str(table))

"""Downloads: what is missing, and archives that are damaged or hostile."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from ood_shared import checkpoints


def test_downloading_says_what_is_missing_and_creates_nothing(place, run):
    found = run("download", "--datasets", "ascood", "--checkpoints", "ascood", "--dataset_mode", "benchmark")
    assert found.status == 1
    assert "missing: data/images_classic/cifar10 (archive cifar10.zip" in found.err
    assert "missing: results/cars_ascood_net" in found.err
    assert list(place.iterdir()) == []


def test_a_fetched_archive_is_checked_and_unpacked(place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w") as archive:
        archive.writestr("svhn/a.txt", "1")
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    Path("zips/SHA256SUMS").write_text(f"{'0' * 64}  svhn.zip\n")
    assert "differs from its checksum" in run("download", *words).error
    Path("zips/SHA256SUMS").write_text(f"{checkpoints.sha256(Path('zips/svhn.zip'))}  svhn.zip\n")
    run("download", *words)
    assert Path("data/images_classic/svhn/a.txt").read_text() == "1"


def test_an_archive_that_leads_out_of_its_folder_is_refused(place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w") as archive:
        archive.writestr("../../outside.txt", "1")
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    assert "leads out of its folder" in run("download", *words).error
    assert not list(place.rglob("outside.txt"))
    assert not Path("data/images_classic/svhn").exists()


@pytest.mark.parametrize(
    ("mark", "offset", "byte", "message"),
    [
        (b"a.txt", 30, 0xFF, "svhn.zip is damaged"),  # in the compressed bytes
        (b"PK\x01\x02", 8, 0x01, "svhn.zip is encrypted"),  # the flag of encryption in the central directory
    ],
)
def test_an_archive_that_cannot_be_read_leaves_nothing(mark, offset, byte, message, place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("svhn/a.txt", np.random.default_rng(0).integers(0, 9, 500).tobytes())
    content = bytearray(Path("zips/svhn.zip").read_bytes())
    content[content.index(mark) + offset] ^= byte
    Path("zips/svhn.zip").write_bytes(content)
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    assert message in run("download", *words).error
    assert list(Path("data/images_classic").iterdir()) == []


def test_a_folder_of_archives_that_is_not_there_is_said(place, run):
    assert "--archives nowhere is no folder" in run("download", "--archives", "nowhere").error

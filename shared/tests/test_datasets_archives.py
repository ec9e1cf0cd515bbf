"""Archives: the same images as the folder, and nothing from an archive that could reach outside one."""

import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from ood_shared.datasets import archive_checks, load
from ood_shared.errors import MissingFileError

from .broken_sets import png, refused, tar_of

KINDS = {".tar": "tar", ".tar.gz": "gztar", ".zip": "zip"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pets"
    for split, classes in (("train", "ab"), ("test", "abc")):
        for label, name in enumerate(classes):
            for number in range(3):
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(10 * label + number))
    return root


def pack(folder, ending, base="."):
    made = shutil.make_archive(str(folder.parent / "packed"), KINDS[ending], folder, base)
    return folder.parent / made


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_archive_gives_what_the_folder_gives(folder, ending, split):
    packed, plain = load(str(pack(folder, ending)), split), load(str(folder), split)
    assert np.array_equal(packed.images, plain.images)
    assert packed.labels.tolist() == plain.labels.tolist()
    assert packed.classes == plain.classes
    assert packed.name == "packed"


def test_nothing_is_unpacked_onto_the_disk(folder, tmp_path, monkeypatch):
    path = pack(folder, ".tar.gz")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    load(str(path), "test")
    assert sorted(tmp_path.rglob("*")) == before


def test_tgz_is_another_word_for_tar_gz(folder):
    path = pack(folder, ".tar.gz")
    assert len(load(str(path.rename(path.with_name("pets.tgz"))), "test")) == 9


@pytest.mark.parametrize("ending", KINDS)
def test_folder_around_everything_is_looked_through(folder, ending):
    made = shutil.make_archive(str(folder.parent / "packed"), KINDS[ending], folder.parent, "pets")
    assert load(str(made), "test").classes == ("a", "b", "c")


def test_images_stand_in_the_order_of_their_names_whatever_the_order_in_the_archive(tmp_path):
    names = ["test/b/1.png", "test/a/2.png", "test/b/0.png", "test/a/1.png"]
    path = tar_of(tmp_path / "x.tar", *[(name, png(number)) for number, name in enumerate(names)])
    images = load(str(path), "test")
    assert images.images[:, 0, 0, 0].tolist() == [3, 1, 2, 0]
    assert images.labels.tolist() == [0, 0, 1, 1]


def test_what_macs_add_is_not_an_image(tmp_path):
    members = [("test/a/0.png", png()), ("__MACOSX/test/a/._0.png", b"x"), ("test/a/._0.png", b"x")]
    assert len(load(str(tar_of(tmp_path / "x.tar", *members)), "test")) == 1


@pytest.mark.parametrize(
    "name", ["../evil.png", "test/a/../../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"]
)
@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_member_that_leaves_the_folder_is_refused(tmp_path, name, ending):
    path = tmp_path / f"x{ending}"
    if ending == ".tar":
        tar_of(path, ("test/a/0.png", png()), (name, png()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("test/a/0.png", png())
            archive.writestr(zipfile.ZipInfo(name), png())
    said = refused(path)
    assert "is refused: its member" in said
    assert "evil.png" in said


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("test/a/1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    said = refused(tar_of(tmp_path / "x.tar", ("test/a/0.png", png()), member))
    assert "`test/a/1.png` is a link or a device" in said


def test_link_in_a_zip_is_refused(tmp_path):
    member = zipfile.ZipInfo("test/a/1.png")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("test/a/0.png", png())
        archive.writestr(member, "/etc/passwd")
    assert "`test/a/1.png` is a link or a device" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_member_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(archive_checks, "MAX_MEMBER_BYTES", 1000)
    path = tmp_path / f"x{ending}"
    if ending == ".tar":
        tar_of(path, ("test/a/0.png", bytes(1001)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("test/a/0.png", bytes(1001))
    assert "`test/a/0.png` of 1001 bytes" in refused(path)


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.2, 0.6, 0.75])
def test_truncated_archive_is_refused(folder, ending, kept):
    path = pack(folder, ending)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "truncated" in refused(path)


def test_tar_cut_between_two_members_is_refused(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("test/a/0.png", png()), ("test/a/1.png", png()))
    path.write_bytes(path.read_bytes()[:1024])  # one header and one block of data: a whole member
    assert "its closing block is missing" in refused(path)


def test_file_that_is_no_archive_is_refused(tmp_path):
    for ending in KINDS:
        (tmp_path / f"x{ending}").write_bytes(b"<html>not found</html>" * 50)
        assert "damaged or no archive" in refused(tmp_path / f"x{ending}")


def test_damaged_member_of_a_zip_is_noticed_by_its_checksum(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/a/0.png", png())
    data = bytearray(path.read_bytes())
    data[data.find(b"IDAT") + 6] ^= 255
    path.write_bytes(data)
    assert "Bad CRC-32" in refused(path)


def test_encrypted_zip_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/a/0.png", png())
    data = bytearray(path.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refused(path)


def test_member_held_twice_is_refused(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("test/a/0.png", png(1)), ("./test/a/0.png", png(2)))
    assert "holds `test/a/0.png` twice" in refused(path)


def test_corrupt_image_in_an_archive_is_named(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("test/a/0.png", png()), ("test/a/1.png", b"nothing"))
    assert "x.tar/test/a/1.png is damaged or no image" in refused(path)


def test_sizes_and_empty_classes_are_checked_as_in_a_folder(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("test/a/0.png", png()), ("test/a/1.png", png(size=(5, 4))))
    assert "x.tar/test/a/1.png has 5 x 4" in refused(path)
    empty = tarfile.TarInfo("test/b")
    empty.type = tarfile.DIRTYPE
    path = tar_of(tmp_path / "y.tar", ("test/a/0.png", png()), empty)
    assert "y.tar/test/b is a class folder without images" in refused(path)


def test_missing_split_and_missing_file_are_named(folder, tmp_path):
    assert "no `val` split. Present: train, test" in refused(pack(folder, ".zip"), "val")
    with pytest.raises(MissingFileError, match=r"gone\.tar is missing"):
        load(str(tmp_path / "gone.tar"), "test")

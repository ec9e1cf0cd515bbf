"""Files that promise or unpack to far more than they are: refused before they fill the memory."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import archive_checks, bounded
from ood_shared.errors import InputError

from .broken_sets import idx, refused, scored, write_idx

FEW = 1 << 16  # bytes, where a real limit would need gigabytes


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGE", FEW)


def tar_header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_of_gigabytes_in_a_tar_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_header(kind, 5 << 30) + bytes(1 << 16)))
    assert "has a part of" in refused(path)
    assert "has a part of" in scored(path)[-1][1]


@pytest.mark.parametrize("name", ["test/a/0.png", "test/a/0.bin"])
def test_a_member_of_gigabytes_of_a_packed_tar_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = 5 << 30
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1 << 16)))
    assert "unpacks to 5368709120 bytes or more" in refused(path)
    assert "unpacks to" in scored(path)[-1][1]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_members_that_unpack_to_far_more_than_they_are_are_refused(
    tmp_path: Path, few: None, pack: Callable[[bytes], bytes]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(100):
            info = tarfile.TarInfo(f"test/a/{number}.bin")
            info.size = FEW // 2
            archive.addfile(info, io.BytesIO(bytes(FEW // 2)))
    path = tmp_path / "x.tar.gz"
    path.write_bytes(pack(buffer.getvalue()))
    assert "unpacks to" in refused(path)


def test_an_npz_bomb_is_refused_by_its_table_of_contents(tmp_path: Path, few: None) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, test_images=np.zeros((400, 28, 28), np.uint8), test_labels=np.zeros(400, int))
    assert "unpacks to" in refused(path)
    assert "unpacks to" in scored(path)[0][1]


def test_an_idx_bomb_is_refused_by_its_header(tmp_path: Path, few: None) -> None:
    images = gzip.compress(idx(8, 1000, 28, 28, data=bytes(1000 * 784)))
    write_idx(tmp_path, images, gzip.compress(idx(8, 1000, data=bytes(1000))), ".gz")
    assert "unpacks to" in refused(tmp_path)


def test_an_idx_file_that_claims_more_than_it_has_is_not_awaited(tmp_path: Path) -> None:
    write_idx(tmp_path, idx(8, 10_000_000, 28, 28, data=bytes(99)), idx(8, 10_000_000, data=bytes(99)))
    assert "should hold 7840000000 bytes" in refused(tmp_path)


def test_a_set_that_does_not_fit_into_memory_is_refused(tmp_path: Path, few: None, monkeypatch) -> None:
    monkeypatch.setattr(bounded, "free_memory", lambda: FEW)
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", test_images=images, test_labels=np.zeros(400, int))
    assert f"{FEW} are free" in refused(tmp_path / "x.npz")


def test_limits_of_archives_are_those_of_their_kinds() -> None:
    with pytest.raises(InputError, match="one scan may have at most"):
        archive_checks.check_size("x.tar", "a.nii.gz", archive_checks.MAX_SCAN_BYTES + 1)
    with pytest.raises(InputError, match="with holes"):
        archive_checks.check_size("x.tar", "a.png", 1, sparse=True)

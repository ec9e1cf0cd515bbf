"""Small sets to break, and how `load` and scoring answer them."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from ood_shared.datasets import load
from ood_shared.errors import InputError
from ood_shared.streaming import pending_images, read_items
from PIL import Image


def png(value: int = 0, size: tuple[int, int] = (4, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path) -> Path:
    for name in "ab":
        for number in range(2):
            path = root / "test" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(number))
    return root


def packed(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                archive.writestr(*member)
        return path
    return tar_of(path, *members, mode="w:gz")


def tar_of(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w") -> Path:
    """A tar of (name, bytes) files and ready-made TarInfo members."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def idx(kind: int, *shape: int, data: bytes = b"") -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def write_idx(root: Path, images: bytes, numbers: bytes, ending: str = "") -> Path:
    root.mkdir(exist_ok=True)
    (root / f"t10k-images-idx3-ubyte{ending}").write_bytes(images)
    (root / f"t10k-labels-idx1-ubyte{ending}").write_bytes(numbers)
    return root


def refused(path: Path | str, split: str = "test") -> str:
    with pytest.raises(InputError) as caught:
        load(str(path), split)
    said = str(caught.value)
    assert "\n" not in said
    return said


def scored(*words: Path | str) -> list[tuple[str, str]]:
    """Names and problems, as scoring has them."""
    found = [(item.name, item.problem) for item in read_items(pending_images([str(w) for w in words]), lambda p: p)]
    assert all("\n" not in problem for _, problem in found)
    return found

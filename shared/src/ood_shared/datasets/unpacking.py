"""Archives onto the disk: whole or not at all, only files and folders, only below the folder, and of a size that fits.

unpack(Path("cifar-10-python.tar.gz"), Path("data"), only="cifar-10-batches-py")
"""

import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

from ood_shared.datasets.archive_checks import members_of, refuse_special, safe_name, unsafe
from ood_shared.datasets.bounded import Unpacked, check_inflation, open_unpacked
from ood_shared.errors import InputError
from ood_shared.files import reading, regular

MOST_MEMBER, MOST_ALL = 1 << 33, 1 << 40  # bytes: 8 GiB, 1 TiB
PIECE = 1 << 20
ADVICE = "Fetch it again."


def unpack(archive: Path, folder: Path, only: str | None = None, look_through: bool = False) -> None:
    """Unpack a tar, packed or not, or a zip.

    Everything is written into a temporary folder beside the target and renamed at the end: an archive that is refused
    leaves nothing. Rights, owners and times of the members are not taken over.

    Args:
        archive: a zip by its ending, else a tar.
        folder: that the content becomes; a new or an empty one. With `only`, the folder around it.
        only: name of a folder right in the archive, which becomes `folder / only`; other members are left out.
        look_through: where all lies in one folder of the target's name, its content becomes the target.

    Raises:
        MissingFileError: no such archive.
        InputError: it is damaged, encrypted or too large, a member leads out of the folder or is a link or a device,
            the folder `only` is not in it, or the target is there with something in it.
    """
    target = folder if only is None else folder / only
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already. Remove it, then unpack {archive.name} again.")
    regular(archive, what="an archive")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    whole = temporary / "whole"
    try:
        whole.mkdir()
        with reading(archive, "archive of its kind", ADVICE):
            _Unpacking(archive, whole, only).run()
        if only is not None and not (whole / only).is_dir():
            raise InputError(f"{archive} does not hold the folder {only}. {ADVICE}")
        inner = whole / target.name
        through = look_through and inner.is_dir() and len(list(whole.iterdir())) == 1
        found = inner if only is not None or through else whole
        if target.is_dir():
            target.rmdir()
        found.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Unpacking:
    """One archive on its way into a folder."""

    def __init__(self, archive: Path, folder: Path, only: str | None) -> None:
        self.archive, self.folder, self.only = archive, folder, only
        self._written = 0

    def run(self) -> None:
        """Write every member."""
        if self.archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(self.archive) as opened:
                self._zip(opened)
        else:
            with (
                open_unpacked(self.archive) as unpacked,
                tarfile.TarFile(self.archive, "r", fileobj=unpacked) as opened_tar,
            ):
                self._tar(opened_tar, unpacked)

    def _zip(self, opened: zipfile.ZipFile) -> None:
        for member in opened.infolist():
            refuse_special(self.archive.name, member)
            check_inflation(f"{self.archive}/{member.filename}", member.file_size, member.compress_size)
            place = self._place(member.filename, member.file_size)
            if place is None or member.is_dir():
                _folder(place)
                continue
            if member.flag_bits & 1:
                raise InputError(f"{self.archive} is encrypted. Unpack it by hand into {self.folder.parent.parent}.")
            with opened.open(member) as file:
                self._write(place, file, member.file_size)

    def _tar(self, opened: tarfile.TarFile, unpacked: Unpacked) -> None:
        for member in members_of(opened, self.archive, unpacked.packed):
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise unsafe(self.archive.name, member.name, "is a link or a device")
            place = self._place(member.name, member.size)
            if place is None or member.isdir():
                _folder(place)
                continue
            unpacked.seek(member.offset_data)
            self._write(place, unpacked, member.size)

    def _place(self, name: str, size: int) -> Path | None:
        """Where a member goes; None for one that is left out."""
        clean = safe_name(self.archive.name, name)
        if self.only is not None and clean.split("/")[0] != self.only:
            return None
        self._written += size
        if size > MOST_MEMBER or self._written > MOST_ALL:
            raise InputError(f"{self.archive} unpacks to {self._written} bytes or more, which is too much.")
        free = shutil.disk_usage(self.folder).free
        if size > free:
            raise InputError(f"{self.archive}: `{clean}` has {size} bytes, and {free} are free on the disk.")
        return self.folder / clean if clean else None

    def _write(self, place: Path, file: IO[bytes] | Unpacked, size: int) -> None:
        _folder(place.parent)
        left: Any = size
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as out:
            while left:
                data = file.read(min(PIECE, left))
                if not data:
                    raise EOFError("it ends within a member")
                out.write(data)
                left -= len(data)
            if not isinstance(file, Unpacked):
                file.read(1)  # the checksum of a zip is looked at behind the last byte


def _folder(place: Path | None) -> None:
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)

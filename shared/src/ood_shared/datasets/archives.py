"""Images straight from `.tar`, `.tar.gz`, `.tgz` and `.zip`, without unpacking anything onto the disk.

An archive is refused as a whole when a member could reach outside a folder if it were unpacked: absolute paths, `..`,
links, devices. Such an archive was not made to carry images.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.decode import Encoded, decode_all, is_image
from ood_shared.datasets.tree import Listing, NameTree, list_split
from ood_shared.errors import InputError, MissingFileError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_MEMBER_BYTES = 1 << 26  # 64 MiB for one encoded image
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@runtime_checkable
class Archive(Protocol):
    """An open archive. Names are relative, with slashes, without a leading `./`."""

    files: list[str]  # in the order in which they are stored
    folders: list[str]

    def read(self, places: Mapping[str, int]) -> Iterator[Encoded]:
        """The named members, in the order in which they are stored."""


def is_archive(path: Path) -> bool:
    """Whether the extension is that of an archive that is read."""
    return path.name.lower().endswith(ARCHIVES)


def load_archive(
    path: Path, split: str, size: int | None = None, channels: int | None = None
) -> tuple[npt.NDArray[np.uint8], Listing]:
    """Images (n, height, width, channels) of a split of an ImageFolder tree inside an archive, and their listing.

    Raises:
        MissingFileError: no such file.
        InputError: truncated or damaged, a member that is unsafe or too large, and what `list_split` and `decode_all`
            find wrong.
    """
    with _open(path) as archive:
        listing = list_split(NameTree(archive.files, archive.folders), split, path.name)
        places = {name: place for place, name in enumerate(listing.paths)}
        return decode_all(archive.read(places), len(places), size, channels), listing


@contextmanager
def _open(path: Path) -> Iterator[Archive]:
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as file:
                yield ZipFiles(file, path.name)
        else:
            with tarfile.open(path, "r:*") as opened:
                yield TarFiles(opened, path.name)
    except InputError:
        raise
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing; expected an archive with images.") from None
    except BROKEN as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} is truncated, damaged or no archive of its kind ({reason}). Fetch it again."
        ) from error


class TarFiles:
    """A tar archive, packed or not."""

    def __init__(self, opened: tarfile.TarFile, where: str) -> None:
        self._opened, self._where = opened, where
        self._members: dict[str, tarfile.TarInfo] = {}
        self.folders: list[str] = []
        for member in opened:
            if not (member.isreg() or member.isdir()):
                raise unsafe(where, member.name, "is a link or a device")
            name = safe_name(where, member.name)
            if member.isdir():
                self.folders += [name] if name else []
            elif name in self._members:
                raise InputError(f"{where} holds `{name}` twice. Pack it again.")
            else:
                self._members[name] = member
        self._check_end()
        self.files = list(self._members)

    def read(self, places: Mapping[str, int]) -> Iterator[Encoded]:
        """See `Archive`."""
        for name, member in self._members.items():
            if name in places:
                check_size(self._where, name, member.size)
                file = self._opened.extractfile(member)
                yield Encoded(places[name], f"{self._where}/{name}", file.read() if file else b"")

    def _check_end(self) -> None:
        """A tar that stops between two members looks whole to tarfile; only the closing zero block tells."""
        file = self._opened.fileobj
        if file is not None:
            file.seek(self._opened.offset)
            if file.read(tarfile.BLOCKSIZE) != b"\0" * tarfile.BLOCKSIZE:
                raise InputError(f"{self._where} is truncated: its closing block is missing. Fetch it again.")


class ZipFiles:
    """A zip archive."""

    def __init__(self, opened: zipfile.ZipFile, where: str) -> None:
        self._opened, self._where = opened, where
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.folders: list[str] = []
        for member in sorted(opened.infolist(), key=lambda member: member.header_offset):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise unsafe(where, member.filename, "is a link or a device")
            name = safe_name(where, member.filename)
            if member.is_dir():
                self.folders += [name] if name else []
            elif name in self._members:
                raise InputError(f"{where} holds `{name}` twice. Pack it again.")
            elif member.flag_bits & 1 and is_image(name):
                raise InputError(f"{where} is encrypted (`{name}`). Pack it without a password.")
            else:
                self._members[name] = member
        self.files = list(self._members)

    def read(self, places: Mapping[str, int]) -> Iterator[Encoded]:
        """See `Archive`."""
        for name, member in self._members.items():
            if name in places:
                check_size(self._where, name, member.file_size)
                yield Encoded(places[name], f"{self._where}/{name}", self._opened.read(member))


def safe_name(where: str, name: str) -> str:
    """The name of a member without a leading `./`.

    Raises:
        InputError: it would lead out of the folder into which it is unpacked.
    """
    slashed = name.replace("\\", "/")
    windows = PureWindowsPath(name)
    if slashed.startswith("/") or windows.drive or windows.root:
        raise unsafe(where, name, "has an absolute path")
    if ".." in slashed.split("/"):
        raise unsafe(where, name, "leads out of its folder")
    clean = PurePosixPath(slashed).as_posix()
    return "" if clean == "." else clean


def unsafe(where: str, member: str, what: str) -> InputError:
    """The error for a member that could reach outside a folder."""
    return InputError(f"{where} is refused: its member `{member}` {what}. Pack only folders and image files.")


def check_size(where: str, name: str, size: int) -> None:
    """Refuse a member that is too large for an image.

    Raises:
        InputError: it is.
    """
    if size > MAX_MEMBER_BYTES:
        raise InputError(f"{where} holds `{name}` of {size} bytes; one image may have at most {MAX_MEMBER_BYTES}.")

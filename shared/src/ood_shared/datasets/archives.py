"""Images straight from `.tar`, `.tar.gz`, `.tgz` and `.zip`, without unpacking anything onto the disk.

An archive is refused as a whole when a member could reach outside a folder if it were unpacked: absolute paths, `..`,
links, devices. Such an archive was not made to carry images.
"""

import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.archive_checks import (
    ADVICE,
    check_end,
    check_size,
    members_of,
    refuse_special,
    safe_name,
    unsafe,
)
from ood_shared.datasets.bounded import Unpacked, open_unpacked
from ood_shared.datasets.decode import Encoded, decode_all, is_image
from ood_shared.datasets.formats import is_unread
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.slices import HEAD, images_in, is_headed, is_sliced
from ood_shared.datasets.tree import Listing, NameTree, list_split, visible
from ood_shared.errors import InputError
from ood_shared.files import reading, regular

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


class Member(NamedTuple):
    """A file of an archive: the place it was asked for by, its name for messages, its bytes."""

    place: int
    name: str
    data: bytes


@runtime_checkable
class Archive(Protocol):
    """An open archive. Names are relative, with slashes, without a leading `./`."""

    def tree(self) -> NameTree:
        """What it holds."""

    def read(self, places: Mapping[str, int]) -> Iterator[Member]:
        """The named members, in the order in which they are stored."""


def is_archive(path: Path) -> bool:
    """Whether the extension is that of an archive that is read."""
    return path.name.lower().endswith(ARCHIVES)


def load_archive(
    path: Path,
    split: str,
    size: int | None = None,
    channels: int | None = None,
    span: Range | None = None,
) -> tuple[npt.NDArray[np.uint8], Listing]:
    """Images (n, height, width, channels) of a split of an ImageFolder tree inside an archive, and their listing.

    Raises:
        MissingFileError: no such file.
        InputError: truncated or damaged, a member that is unsafe or too large, and what `list_split` and `decode_all`
            find wrong.
    """
    with open_archive(path) as archive:
        listing = list_split(archive.tree(), split, path.name)
        counts = np.ones(len(listing.paths), np.int64)  # images of each file
        sliced = {name: place for place, name in enumerate(listing.paths) if not is_image(name)}
        for place, name, data in archive.read(sliced):
            counts[place] = sum(1 for _ in images_in(name, data))
        starts, names = np.cumsum(counts) - counts, [""] * int(counts.sum())

        def images() -> Iterator[Encoded]:
            for at, name, data in archive.read({name: at for at, name in enumerate(listing.paths)}):
                for place, image in enumerate(images_in(name, data), start=int(starts[at])):
                    names[place] = image.name.removeprefix(f"{path.name}/")
                    yield image._replace(place=place)

        notes = list(listing.notes)
        pixels = decode_all(images(), len(names), size, channels, span, notes)
        return pixels, Listing(listing.classes, names, np.repeat(listing.labels, counts).tolist(), tuple(notes))


def list_archive(path: Path, split: str) -> Listing:
    """The files of a split, none of which is read; see `load_archive`."""
    with open_archive(path) as archive:
        return list_split(archive.tree(), split, path.name)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """An archive, looked through.

    Raises:
        MissingFileError: no such file.
        InputError: see `load_archive`.
    """
    regular(path, what="an archive with images")
    with reading(path, "archive of its kind", ADVICE):
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as file:
                yield ZipFiles(file, path)
        else:
            with open_unpacked(path) as unpacked, tarfile.TarFile(path, "r", fileobj=unpacked) as opened:
                yield TarFiles(opened, unpacked, path)


class _Seen:
    """What an archive was seen to hold besides the files that are kept.

    Attributes:
        folders: their names.
        unread: names of image files of kinds that are not read.
    """

    def __init__(self, where: str) -> None:
        self.folders: list[str] = []
        self.unread: list[str] = []
        self._where, self._names = where, set[str]()

    def takes(self, name: str, is_folder: bool) -> bool:
        """Whether a member may be an image or a scan; what it is otherwise is noted.

        Raises:
            InputError: a file of that name was there before.
        """
        if is_folder:
            self.folders += [name] if name else []
            return False
        if name in self._names:
            raise InputError(f"{self._where} holds `{name}` twice. Pack it again.")
        self._names.add(name)
        if is_unread(name):
            self.unread.append(name)
            return False
        return visible(name)


class TarFiles:
    """A tar archive, packed or not."""

    def __init__(self, opened: tarfile.TarFile, unpacked: Unpacked, path: Path) -> None:
        self._unpacked, self._where = unpacked, path.name
        self._members: dict[str, tuple[int, int]] = {}  # where its bytes are, and how many
        self._seen = _Seen(self._where)
        for member in members_of(opened, path, unpacked.packed):
            if not (member.isreg() or member.isdir()):
                raise unsafe(self._where, member.name, "is a link or a device")
            name = safe_name(self._where, member.name)
            if self._seen.takes(name, member.isdir()) and is_headed(name, self._head(name, member)):
                check_size(self._where, name, member.size, sparse=member.issparse())
                self._members[name] = (member.offset_data, member.size)
        check_end(self._where, unpacked)

    def tree(self) -> NameTree:
        """See `Archive`."""
        return NameTree(self._members, self._seen.folders, self._seen.unread)

    def read(self, places: Mapping[str, int]) -> Iterator[Member]:
        """See `Archive`."""
        for name, (start, size) in self._members.items():
            if name in places:
                yield Member(places[name], f"{self._where}/{name}", self._bytes(start, size))

    def _head(self, name: str, member: tarfile.TarInfo) -> bytes:
        if is_image(name) or is_sliced(name) or member.issparse():
            return b""
        return self._bytes(member.offset_data, min(member.size, HEAD))

    def _bytes(self, start: int, size: int) -> bytes:
        self._unpacked.seek(start)
        return self._unpacked.member(size)


class ZipFiles:
    """A zip archive."""

    def __init__(self, opened: zipfile.ZipFile, path: Path) -> None:
        self._opened, self._where = opened, path.name
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._seen = _Seen(self._where)
        for member in sorted(opened.infolist(), key=lambda member: member.header_offset):
            refuse_special(self._where, member)
            name = safe_name(self._where, member.filename)
            if self._seen.takes(name, member.is_dir()) and is_headed(name, self._head(name, member)):
                check_size(self._where, name, member.file_size)
                if member.flag_bits & 1:
                    raise InputError(f"{self._where} is encrypted (`{name}`). Pack it without a password.")
                self._members[name] = member

    def tree(self) -> NameTree:
        """See `Archive`."""
        return NameTree(self._members, self._seen.folders, self._seen.unread)

    def read(self, places: Mapping[str, int]) -> Iterator[Member]:
        """See `Archive`."""
        for name, member in self._members.items():
            if name in places:
                yield Member(places[name], f"{self._where}/{name}", self._opened.read(member))

    def _head(self, name: str, member: zipfile.ZipInfo) -> bytes:
        if is_image(name) or is_sliced(name) or member.flag_bits & 1:
            return b""
        with self._opened.open(member) as file:
            return file.read(HEAD)

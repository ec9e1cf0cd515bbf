"""Images in archives, one after another, in the order in which they are stored: `scans.tar/a/1.png`.

A tar is read from its start to its end, packed or not, and nothing of what was read is kept. A zip keeps its table of
contents in memory, about a kilobyte for each member. A member that could reach outside a folder, were it unpacked, is
refused by itself: the archive is not known as a whole before it is read.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ood_shared.datasets.archive_checks import ADVICE, check_end, check_size, members_of, safe_name, unsafe
from ood_shared.datasets.bounded import Unpacked, open_unpacked
from ood_shared.datasets.decode import Encoded, is_image
from ood_shared.datasets.formats import is_unread
from ood_shared.datasets.slices import HEAD, images_in, is_headed, is_sliced
from ood_shared.datasets.tree import visible
from ood_shared.errors import InputError
from ood_shared.files import reading, regular
from ood_shared.streaming.reading import refused, unread


def archive_images(path: Path) -> Iterator[Encoded]:
    """The images of a `.tar`, `.tar.gz`, `.tgz` or `.zip`, encoded.

    Raises:
        InputError: the archive is truncated, damaged or none; after the images in front of the damage.
    """
    regular(path, what="an archive with images")
    with reading(path, "archive of its kind", ADVICE):
        yield from _zip_images(path) if path.name.lower().endswith(".zip") else _tar_images(path)


def _tar_images(path: Path) -> Iterator[Encoded]:
    with open_unpacked(path) as unpacked, tarfile.TarFile(path, "r", fileobj=unpacked) as archive:
        for member in members_of(archive, path, unpacked.packed):
            if member.isdir():
                continue
            try:
                if not member.isreg():
                    raise unsafe(path.name, member.name, "is a link or a device")
                name = safe_name(path.name, member.name)
                if visible(name):
                    yield from _images_of(path, name, member.size, unpacked, member.issparse())
            except InputError as error:
                yield refused(f"{path}/{member.name}", error)
        check_end(str(path), unpacked)


def _zip_images(path: Path) -> Iterator[Encoded]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            try:
                name = safe_name(path.name, member.filename)
                if (member.external_attr >> 28) not in (0, 8):  # the kind of a Unix file: none, a regular one
                    raise unsafe(path.name, name, "is a link or a device")
                if member.flag_bits & 1 and is_image(name):
                    raise InputError(f"{path.name} is encrypted (`{name}`). Pack it without a password.")
                if visible(name) and not member.flag_bits & 1:
                    with archive.open(member) as file:
                        yield from _images_of(path, name, member.file_size, file)
            except zipfile.BadZipFile as error:  # of this member alone
                yield refused(f"{path}/{member.filename}", error)
            except InputError as error:
                yield refused(f"{path}/{member.filename}", error)


def _images_of(path: Path, name: str, size: int, file: IO[bytes] | Unpacked, sparse: bool = False) -> Iterator[Encoded]:
    """The images of one member; none when it is of another kind."""
    if is_unread(name):
        yield unread(f"{path}/{name}")
        return
    head = b""
    if not is_image(name) and not is_sliced(name):
        head = b"" if sparse else file.read(min(size, HEAD))
        if not is_headed(name, head):
            return
    check_size(path.name, name, size, sparse)
    rest = size - len(head)
    yield from images_in(f"{path}/{name}", head + (file.member(rest) if isinstance(file, Unpacked) else file.read()))

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

from ood_shared.datasets import dicom
from ood_shared.datasets.archives import BROKEN, check_size, safe_name, unsafe
from ood_shared.datasets.decode import Encoded, is_image
from ood_shared.datasets.slices import HEAD, images_in, is_sliced
from ood_shared.datasets.tree import visible
from ood_shared.errors import InputError
from ood_shared.streaming.reading import refused


def archive_images(path: Path) -> Iterator[Encoded]:
    """The images of a `.tar`, `.tar.gz`, `.tgz` or `.zip`, encoded.

    Raises:
        InputError: the archive is truncated, damaged or none; after the images in front of the damage.
    """
    try:
        yield from _zip_images(path) if path.name.lower().endswith(".zip") else _tar_images(path)
    except BROKEN as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path} is truncated, damaged or no archive of its kind ({reason}). Fetch it again."
        ) from error


def _tar_images(path: Path) -> Iterator[Encoded]:
    with tarfile.open(path, "r|*") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if member.isdir():
                continue
            try:
                if not member.isreg():
                    raise unsafe(path.name, member.name, "is a link or a device")
                name = safe_name(path.name, member.name)
                file = archive.extractfile(member) if visible(name) else None
                if file is not None:
                    yield from _images_of(path, name, member.size, file)
            except InputError as error:
                yield refused(f"{path}/{member.name}", error)
        if archive.fileobj is None or archive.fileobj.tell() <= archive.offset:  # no closing block was read
            raise InputError(f"{path} is truncated: its closing block is missing. Fetch it again.")


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


def _images_of(path: Path, name: str, size: int, file: IO[bytes]) -> Iterator[Encoded]:
    """The images of one member; none when it is of another kind."""
    head = b""
    if not is_image(name) and not is_sliced(name):
        head = file.read(HEAD)
        if not dicom.has_magic(head):
            return
    check_size(path.name, name, size)
    yield from images_in(f"{path}/{name}", head + file.read())

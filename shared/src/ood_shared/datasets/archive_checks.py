"""What a member of an archive may be: a file or a folder inside, of bounded size, in an archive that is whole."""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ood_shared.datasets.bounded import Unpacked, check_inflation
from ood_shared.datasets.slices import is_sliced
from ood_shared.errors import InputError, one_line
from ood_shared.files import check_name

MAX_MEMBER_BYTES = 1 << 26  # 64 MiB for one encoded image
MAX_SCAN_BYTES = 1 << 29  # 512 MiB for a DICOM or NIfTI file
ADVICE = "Fetch it again."


def members_of(opened: tarfile.TarFile, path: Path, packed: bool) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, none of which is kept; their sizes are looked at before anything is unpacked."""
    whole = path.stat().st_size
    while (member := opened.next()) is not None:
        opened.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        if packed and not member.issparse():
            check_inflation(f"{path.name}/{one_line(member.name, 80)}", member.size, whole)
        yield member


def check_end(where: str, file: Unpacked) -> None:
    """A tar that stops between two members looks whole to tarfile; only the closing zero block tells.

    Raises:
        InputError: what was read last is none.
    """
    if file.last != b"\0" * tarfile.BLOCKSIZE:
        raise InputError(f"{where} is truncated: its closing block is missing. Fetch it again.")


def refuse_special(where: str, member: zipfile.ZipInfo) -> None:
    """Refuse a member of a zip that is neither a file nor a folder.

    Raises:
        InputError: it is.
    """
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise unsafe(where, member.filename, "is a link or a device")


def safe_name(where: str, name: str) -> str:
    """The name of a member without a leading `./`.

    Raises:
        InputError: it would lead out of the folder into which it is unpacked.
    """
    check_name(name, where)
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


def check_size(where: str, name: str, size: int, sparse: bool = False) -> None:
    """Refuse a member that is too large for an image or a scan, or that has holes.

    Raises:
        InputError: it is.
    """
    what, most = ("scan", MAX_SCAN_BYTES) if is_sliced(name) else ("image", MAX_MEMBER_BYTES)
    if size > most:
        raise InputError(f"{where} holds `{name}` of {size} bytes; one {what} may have at most {most}.")
    if sparse:
        raise InputError(f"{where} holds `{name}` as a file with holes. Pack it again.")

"""Packed files read with bounds: what a few bytes may become, in memory and in time."""

import bz2
import gzip
import io
import lzma
import os
from pathlib import Path
from typing import IO, Any

from ood_shared.errors import InputError
from ood_shared.files import regular

LARGE = 1 << 30  # 1 GiB: what is smaller is read whatever it was packed to
MOST_RATIO = 200  # unpacked to packed bytes; images and labels do not come near
SPARE = 1 << 28  # memory to leave
BLOCK = 512
PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


def check_inflation(where: object, unpacked: int, packed: int) -> None:
    """Refuse what unpacks to far more than it is.

    Args:
        where: name, for messages.
        unpacked: bytes that it says it is, or that came out so far.
        packed: bytes of the file.

    Raises:
        InputError: more than `LARGE` and more than `MOST_RATIO` times as much.
    """
    if unpacked > LARGE and unpacked > MOST_RATIO * max(packed, 1):
        raise InputError(
            f"{where} unpacks to {unpacked} bytes or more from {packed}; no more than {MOST_RATIO} times are read. "
            "Is it meant to fill the memory? If not, unpack it by hand."
        )


def check_memory(where: object, needed: int) -> None:
    """Refuse what does not fit into the memory that is free; nothing is said where that is not known.

    Raises:
        InputError: it does not fit.
    """
    free = free_memory()
    if needed > LARGE and free is not None and needed > free - SPARE:
        raise InputError(f"{where} needs {needed} bytes of memory; {free} are free. Take a part of it.")


def free_memory() -> int | None:
    """Bytes that a program may still take; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
        return int(found) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def open_unpacked(path: Path) -> "Unpacked":
    """A regular file, unpacked while it is read where it starts as gzip, bzip2 or xz.

    Raises:
        MissingFileError: it is not there.
        InputError: it is no regular file.
    """
    size = regular(path).st_size
    with path.open("rb") as file:
        head = file.read(6)
    opener: Any = next((opener for magic, opener in PACKED if head.startswith(magic)), None)
    return Unpacked(path, path.open("rb") if opener is None else opener(path, "rb"), size, opener is not None)


class Unpacked(io.RawIOBase):
    """A file that refuses to unpack to far more than it is, and to give much at a time.

    Attributes:
        most: bytes that one `read` may ask for.
        packed: whether it is packed.
        last: what was read last, where it is no more than a block of a tar.
    """

    def __init__(self, path: Path, file: IO[bytes], size: int, packed: bool) -> None:
        super().__init__()
        self._path, self._file, self._size, self.packed = path, file, size, packed
        self.most, self.last = 1 << 20, b""

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, and all of them but at the end.

        Raises:
            InputError: more than `most`, or too far in a file that is packed too well.
        """
        if size < 0 or size > self.most:
            raise InputError(f"{self._path} has a part of {size} bytes where at most {self.most} are read.")
        if self.packed:
            check_inflation(self._path, self._file.tell() + size, self._size)
        data = self._file.read(size)
        self.last = data if len(data) <= BLOCK else b""
        return data

    def rest(self, size: int) -> bytes:
        """So many bytes, or fewer at the end, however many: for sizes that were looked at."""
        if self.packed:
            check_inflation(self._path, self._file.tell() + size, self._size)
        return self._file.read(size)

    def member(self, size: int) -> bytes:
        """So many bytes, however many: for sizes that were looked at.

        Raises:
            EOFError: there are fewer.
        """
        data = self.rest(size)
        if len(data) < size:
            raise EOFError("it ends within a member")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; in a packed file all before it is unpacked.

        Raises:
            InputError: too far in a file that is packed too well.
        """
        if self.packed and whence == 0:
            check_inflation(self._path, offset, self._size)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the unpacked file."""
        return self._file.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()

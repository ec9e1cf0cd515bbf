"""Folders that one program at a time writes to, also across the machines of a cluster.

A lock is an flock on a file in the folder. The system releases it when the last process that has it is gone, however
that ended, so none is left behind by a kill. A process that is started with the lock's handle has it too: a method that
outlives the program that started it keeps its folder.
"""

import errno
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ood_shared.errors import InputError
from ood_shared.files import check_name, remove_leftovers

try:
    import fcntl
except ImportError:  # Windows: folders are not locked there
    fcntl = None  # type: ignore[assignment]

LOCK, RUN_LOCK = ".lock", ".run.lock"
BENCH = "another ood-bench or a method of it"
POLL_SECONDS = 0.05
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Busy(InputError):
    """Another process has the folder."""


@contextmanager
def claimed(folder: Path, *files: Path, below: Iterable[str] = ()) -> Iterator[None]:
    """Inside the block no other training writes to the run folder; what killed writes left in it is removed first.

    Of several processes only rank 0 claims it: the others write nothing.

    Args:
        folder: of the run; made when missing.
        files: further ones of this run, in folders that other runs write to as well.
        below: names of folders in it that this run alone writes to.

    Raises:
        Busy: another training writes to it.
        InputError: a name that no record of the run could hold; nothing is made then.
    """
    from ood_shared.distributed import is_main  # which loads torch; ood-bench locks folders without

    check_name(str(folder), "the folder of the run")
    if folder.parts[:1] == ("~",):
        raise InputError(f"the folder of the run, {folder}, begins with `~`, which the shell left there. Write it out.")
    if not is_main():
        yield
        return
    with held(folder, 0.0, RUN_LOCK, "another training"):
        for own in (folder, *(folder / name for name in below)):
            remove_leftovers(own)
        for file in files:
            remove_leftovers(file.parent, file.stem)
        yield


@contextmanager
def held(folder: Path, patience: float, name: str = LOCK, who: str = BENCH) -> Iterator[int]:
    """Inside the block no other process has `folder`; the value is the handle that a started process may inherit.

    Args:
        folder: made when missing. The lock's file in it is removed at the end.
        patience: seconds to wait for another process.
        name: of the lock's file.
        who: might have it, for messages.

    Raises:
        Busy: another process still has it then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    handle = _acquire(path, time.monotonic() + patience, who)
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
        yield handle
    finally:
        path.unlink(missing_ok=True)  # before it is released: who waits for this file will look for a new one
        os.close(handle)


def take(file: TextIO, path: Path) -> None:
    """Have a regular file that is open for writing alone, until it is closed.

    Raises:
        Busy: another process has it so.
    """
    if not _try(file.fileno(), path):
        raise Busy(f"{path} is being written by another process. Wait until it ends, or name another file.")


def _acquire(path: Path, deadline: float, who: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _try(handle, path) and _is_at(handle, path):
                return handle
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace")
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() > deadline:
            raise Busy(
                f"{path.parent} is in use by {who} ({holder or 'just started'}). Wait for it, or choose another folder."
            )
        time.sleep(POLL_SECONDS)


def _try(handle: int, path: Path) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on some network file systems
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(f"warning: {path.parent} is on a file system without locks; use it in one place only.", file=sys.stderr)
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file is still the one at the path: the last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

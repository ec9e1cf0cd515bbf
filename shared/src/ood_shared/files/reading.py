"""Reading what a user named: bounded, regular files only, and any failure of a library in one line.

`reading` is the one place that knows how libraries fail: a reader opens its file inside of it and catches nothing.
"""

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from ood_shared.errors import InputError, MissingFileError, one_line, out_of_memory

MAX_TEXT = 1 << 28  # 256 MiB: a list of some million files
_SYSTEM = frozenset(  # what the system says about a file that may be whole: `run_command` has words for it
    {
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.ENOMEM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINTR,
        errno.ESTALE,
    }
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def reading(path: object, what: str, advice: str = "Make or fetch it again.") -> Iterator[None]:
    """Turn whatever a library raises inside the block into one line about `path`.

    Errors for the user, refusals of the system (permissions, a full disk) and lack of memory pass as they are. The
    library's error stays the cause, for `--debug`.

    Args:
        path: of the file, or its name inside an archive.
        what: it should have been, with no article: `checkpoint`, `NIfTI file`.
        advice: what to do, a sentence.

    Raises:
        MissingFileError: the file is not there.
        InputError: anything else.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{error.filename or path} is missing.") from error
    except Exception as error:
        if passes(error):
            raise
        raise broken(path, what, error, advice) from error


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file open for reading that gives no more than it has: a damaged length asks for no memory, as of a plain file.

    Raises:
        ValueError: it is empty.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def passes(error: BaseException) -> bool:
    """Whether an error is the user's to read as it is, or the system's, and says nothing about a file's content."""
    of_system = isinstance(error, OSError) and error.errno in _SYSTEM
    return isinstance(error, InputError) or of_system or out_of_memory(error)


def broken(path: object, what: str, reason: object, advice: str = "Make or fetch it again.") -> InputError:
    """The error for a file that a library cannot read."""
    return InputError(f"{path} is damaged or no {what} ({reason_of(reason).removesuffix('.')}). {advice}")


def reason_of(error: object) -> str:
    """What a library's error, or text, says, on one line for the brackets of a message."""
    ours = isinstance(error, InputError)  # which names what to do; a library's words may be cut
    words = one_line(error, 300 if ours else 160)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):  # of a name; pickle says so of a byte that is no command
        named = not error.args or isinstance(error.args[0], str)
        return f"it lacks {words}" if named else "its bytes are of no such file"
    return words or type(error).__name__


def regular(path: Path, limit: int | None = None, what: str = "") -> os.stat_result:
    """The status of a regular file; anything else is refused before it is opened, as reading it may never end.

    Args:
        path: the file; links are followed.
        limit: most bytes that it may have.
        what: it should be, for messages: `an image`.

    Raises:
        MissingFileError: it is not there.
        InputError: a folder, a pipe, a device, or too large.
    """
    wanted = f"; expected {what}" if what else ""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing{wanted}.") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r} is no path ({error}){wanted}.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link that leads to itself{wanted}.") from None
        raise
    if not stat.S_ISREG(status.st_mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(status.st_mode)), "no regular file")
        raise InputError(f"{path} is {kind}, not a regular file{wanted}.")
    if limit is not None and status.st_size > limit:
        raise InputError(f"{path} has {status.st_size} bytes; at most {limit} are read{wanted}.")
    return status


def read_bytes(path: Path, limit: int, what: str = "") -> bytes:
    """All bytes of a regular file.

    Raises:
        MissingFileError: it is not there.
        InputError: it is no regular file, or has more than `limit` bytes; `what` says what was expected.
    """
    regular(path, limit, what)
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew, or the system does not know its size
        raise InputError(f"{path} has more than {limit} bytes; no more are read.")
    return data


def read_text(path: Path, what: str = "a text file", limit: int = MAX_TEXT) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; line ends become `\\n`.

    Raises:
        MissingFileError: it is not there.
        InputError: it is not UTF-8, no regular file or too large; `what` says what was expected.
    """
    data = read_bytes(path, limit, what)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); expected {what}. Save it as UTF-8."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def path_of(text: str | Path) -> Path:
    """A path as a user wrote it, `~` resolved.

    Raises:
        InputError: it is no text, empty, holds a NUL, names a user who is not there, or is no UTF-8.
    """
    word = str(text) if isinstance(text, str | PathLike) else ""
    if not word or "\0" in word:
        raise InputError(f"{one_line(repr(text), 80)} is no path; expected the name of a file or folder.")
    check_name(word)
    try:
        return Path(word).expanduser()
    except RuntimeError:
        raise InputError(f"`{one_line(word, 80)}` names the home folder of a user who is not known here.") from None


def check_name(name: str, where: object = "") -> None:
    """Refuse a name that could not be printed or written: one that is no UTF-8, or that breaks a line.

    Raises:
        InputError: it is; the name is shown escaped.
    """
    place = f"{where}: " if where else ""
    if has_half_characters(name):
        shown = "".join(map(_escaped, name))
        raise InputError(f"{place}the name `{one_line(shown, 120)}` is not UTF-8. Rename it.")
    if any(letter in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029" for letter in name):
        raise InputError(f"{place}the name {one_line(ascii(name), 120)} holds a line break. Rename it.")


def has_half_characters(text: str) -> bool:
    """Whether a text holds a surrogate, which UTF-8 does not have: half of a character, or a byte of a file's name."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a name, as Python keeps it
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return f"\\u{ord(letter):04x}" if has_half_characters(letter) else letter


def refuse_same_folder(output: Path, *inputs: Path, flag: str = "the output folder") -> None:
    """Refuse an output folder that is one of the inputs, or holds one, for commands that write under names of inputs.

    Raises:
        InputError: files of the input would be overwritten.
    """
    wanted = real_path(output)
    for path in inputs:
        found = real_path(path)
        folder = found if found.is_dir() else found.parent
        if wanted == folder or (found.is_file() and wanted == found):
            raise InputError(
                f"{flag} {output} is the folder of the input; its files would be overwritten. Choose another folder."
            )
        for link in _links_in(found):
            target = real_path(link)
            if wanted in (target, target.parent):
                raise InputError(
                    f"{flag} {output} holds what {link} leads to; it would be overwritten. Choose another folder."
                )


def _links_in(folder: Path) -> Iterator[Path]:
    """The links in a folder; none where it is none, or cannot be listed."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_symlink():
                yield path


def real_path(path: Path) -> Path:
    """The path with all links resolved; as it is where that is not possible."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()

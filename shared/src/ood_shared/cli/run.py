"""Running a command: errors become one line and an exit status, as in the head of this package."""

import argparse
import errno
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

from ood_shared.cli.answers import unread
from ood_shared.errors import InputError, one_line, out_of_memory
from ood_shared.notes import each_once
from ood_shared.process import calm_threads
from ood_shared.signals import Terminated, raise_on_sigterm, time_limit

READERS = ("PIL", "pydicom", "nibabel")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_command(
    command: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run, and turn errors into one line and an exit status.

    Args:
        command: takes the parsed flags; may return an exit status.
        parser: the command's parser; a flag `--debug` shows tracebacks.
        argv: arguments without the program's name; `sys.argv[1:]` when None.

    Returns:
        Exit status as in the head of this package.
    """
    options = parser.parse_args(argv)
    debug = bool(getattr(options, "debug", False))
    seconds = vars(options).pop("stop_after", None)  # no setting of a run: what it leaves is the same
    calm_threads()
    _quiet_readers()
    try:
        with raise_on_sigterm(), each_once(), time_limit(seconds) as limit:
            status = command(options) or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # its reader has enough: `head`
        return unread()
    except InputError as error:
        return _report(parser, str(error), debug, 2)
    except OSError as error:
        if error.errno is None:  # raised by a library in its own words: nothing that the system said
            raise
        return _report(parser, _trouble(error), debug, 2)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _report(parser, f"out of memory. {error} Lower the batch size, or use less data.", debug, 2)
    except KeyboardInterrupt:
        return _report(parser, "interrupted.", debug, 130)
    except Terminated as end:
        resumes = hasattr(options, "resume")
        if end.saved and limit.over:
            return _report(parser, _farewell(f"stopped after {seconds:g} s", True, resumes), debug, 0)
        return _report(parser, _farewell("terminated", end.saved, resumes), debug, 143)


def _quiet_readers() -> None:
    """What readers of files warn of, half of it about files that are refused in a line of ours, is not shown."""
    for name in READERS:
        warnings.filterwarnings("ignore", module=rf"{name}\b")
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _farewell(how: str, saved: bool, resumes: bool) -> str:
    """What is left of a command that was stopped."""
    if saved:
        return f"{how}; what was finished is saved{', --resume continues' if resumes else ''}."
    return f"{how}; --resume continues from what was saved before, if anything was." if resumes else f"{how}."


def _trouble(error: OSError) -> str:
    """What the system refused, and what to do about it where that is plain."""
    words = f"{error.strerror}."
    if error.errno in _FULL:
        words += " Make room and run again."
    elif isinstance(error, FileExistsError | NotADirectoryError):
        words += " A folder is needed there; move the file away or choose another path."
    elif isinstance(error, PermissionError):
        words += " Choose another path, or change its permissions."
    return words if error.filename is None else f"{error.filename}: {words}"


def _report(parser: argparse.ArgumentParser, message: str, debug: bool, status: int) -> int:
    if debug:
        traceback.print_exc()
    print(f"{parser.prog}: {'error: ' if status == 2 else ''}{one_line(message)}", file=sys.stderr)
    return status

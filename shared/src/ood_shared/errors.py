"""Errors that a user can act on: what was found, what was expected, what to do.

A command prints the message of an `InputError` as one line and exits with status 2 (`ood_shared.cli.run_command`).
Anything else that escapes is a defect of the program and keeps its traceback.
"""

import difflib
import sys
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: a flag, a file, a folder or a value that the user can correct."""


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that the user named, or that a step needs, is not there."""

    def __str__(self) -> str:  # OSError would format its arguments its own way
        return " ".join(str(part) for part in self.args)


class ManySizesError(InputError):
    """Images that should make one array have different sizes; a caller may ask for them at one size."""


class ManyColoursError(InputError):
    """Images that should make one array are grey and RGB; a caller may ask for them as one."""


class MissingSplitError(InputError):
    """A set lacks the split that was asked for; a caller may take another one."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking, the processor's or a device's; torch is not loaded for it."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)  # the processor's, of torch


def one_line(text: object, most: int = 500) -> str:
    """The text on one line of at most `most` characters; the middle of a longer one is left out.

    >>> one_line("a\\n  b"), one_line("0123456789" * 3, 12)
    ('a b', '012345 … 789')
    """
    words = " ".join(str(text).split())
    if len(words) <= most:
        return words
    tail = (most - 3) // 3
    return f"{words[: most - 3 - tail]} … {words[len(words) - tail :]}"


def not_installed(what: str, package: str, extra: str, of: str = "ood-shared") -> InputError:
    """The error for a package that only some uses need.

    Our own packages are in no index: what to install by its name is the other one.

    >>> str(not_installed("The report", "jinja2", "report"))
    "The report needs jinja2, which is not installed: pip install jinja2 (extra `report` of ood-shared)."
    """
    return InputError(
        f"{what} needs {package}, which is not installed: pip install {package} (extra `{extra}` of {of})."
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, whatever their case; None when none is near.

    >>> nearest("Bloodmnits", ["bloodmnist", "dermamnist"]), nearest("zebra", ["digits"])
    ('bloodmnist', None)
    """
    words = list(known)
    near = difflib.get_close_matches(word.lower(), [w.lower() for w in words], n=1, cutoff=0.6)
    return next((w for w in words if near and w.lower() == near[0]), None)


def did_you_mean(word: str, known: Iterable[str], shown: int = 12) -> str:
    """The end of an error message: the nearest known word, when one is near, and the known words.

    Args:
        word: what was found.
        known: the words that would have been right.
        shown: at most so many of them are listed.

    >>> did_you_mean("bloodmnits", ["bloodmnist", "dermamnist"])
    'Did you mean `bloodmnist`? Known: bloodmnist, dermamnist.'
    """
    words = list(known)
    guess = nearest(word, words)
    listed = ", ".join(words[:shown]) + (f", … ({len(words)} in all)" if len(words) > shown else "")
    return (f"Did you mean `{guess}`? " if guess else "") + f"Known: {listed}."


def unknown(what: str, found: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with the nearest one that is.

    >>> str(unknown("--opt", "rmspropp", ["rmsprop", "ada"]))
    '--opt `rmspropp` is not known. Did you mean `rmsprop`? Known: rmsprop, ada.'
    """
    return InputError(f"{what} `{found}` is not known. {did_you_mean(found, known)}")

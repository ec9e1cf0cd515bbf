"""Command lines: one-line errors, the flags that all commands share, exit statuses.

Exit status: 0 done; 2 bad input, or a file or memory that the system refused, one line on standard error;
130 interrupted; 141 the reader of its output has enough; 143 terminated after saving. A trainer that saves and stops
because its `--stop-after` is over has done what it was asked to: 0.
"""

import argparse
import contextlib
import errno
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module, metadata
from typing import NoReturn

from ood_shared.errors import InputError, did_you_mean, one_line, out_of_memory
from ood_shared.flags import positive
from ood_shared.notes import each_once
from ood_shared.process import PRECISIONS, calm_threads
from ood_shared.signals import Terminated, raise_on_sigterm, time_limit

DEFAULT_SEED = 5
DIGITS = 19  # of the largest seed; Python refuses to read thousands
WORD = 120  # characters of a user's word that a message shows
READERS = ("PIL", "pydicom", "nibabel")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line, with the nearest known flag or choice. Abbreviations are refused."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse, but an unknown flag comes with the nearest known one."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            word = rest[0].split("=")[0]
            known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            self._end(f"unknown argument `{one_line(rest[0], WORD)}`. {did_you_mean(word, known, len(known))}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        choice = re.fullmatch(r"argument (.+?): invalid choice: '?(.*?)'? \(choose from (.*)\)", message)
        if choice:
            known = [word.strip().strip("'") for word in choice[3].split(",")]
            found = one_line(choice[2], WORD)
            self._end(f"{choice[1]} `{found}` is not known. {did_you_mean(choice[2], known, len(known))}")
        self._end(one_line(message))

    def _end(self, line: str) -> NoReturn:
        """Print a line whose words of the user are cut and whose list of our own is whole."""
        self.exit(2, f"{self.prog}: error: {line}\n")


def parse_seed(text: str) -> int | None:
    """`--seed`: an integer is that seed; `True` is 5; `False`, `0` and `no` leave the choice to the system.

    The original read any text as true, also `False`; here the word means what it says.
    """
    word = text.strip().lower()
    if word in {"false", "0", "no", "off", "none"}:
        return None
    if word in {"true", "yes", "on"}:
        return DEFAULT_SEED
    return _integer(word, text)


def parse_seed_number(text: str) -> int:
    """`--seed` of commands that have no original meaning to keep: a plain integer, 0 included."""
    return _integer(text.strip(), text)


def _integer(word: str, text: str) -> int:
    if not (word.isascii() and word.isdecimal()) or len(word) > DIGITS or int(word) >= 2**63:
        raise argparse.ArgumentTypeError(f"`{text}` is not a seed: pass a whole number from 0 on, True or False")
    return int(word)


def installed() -> str:
    """The project's installed packages with their versions, a line each."""
    points = [*metadata.entry_points(group="ood_shared.bench"), *metadata.entry_points(group="ood_shared.detectors")]
    found = {point.dist.name: point.dist.version for point in points if point.dist is not None}
    found["ood-shared"] = metadata.version("ood-shared")
    return "\n".join(f"{name} {version}" for name, version in sorted(found.items()))


class _Versions(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.exit(_say(installed()))


def add_version_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--version`, which every command has and which is no setting."""
    nothing = argparse.SUPPRESS
    parser.add_argument("--version", action=_Versions, nargs=0, dest=nothing, default=nothing, help="show all versions")


def add_shared_flags(
    parser: argparse.ArgumentParser,
    *,
    seed: Callable[[str], int | None] | None = parse_seed,
    seed_default: int | None = None,
    skip: Sequence[str] = (),
    trains: bool = False,
) -> None:
    """Add the flags of `design` section 6 to a command.

    Args:
        parser: the command's parser.
        seed: reads `--seed`; None when the command defines that flag itself.
        seed_default: what `--seed` is when it is not given; None leaves the choice to the system.
        skip: names (without dashes) that the command does not have or defines itself.
        trains: whether the command trains, in loops that save when they are told to stop: it has `--stop-after`.
    """
    group = parser.add_argument_group("shared by all commands")

    def add(name: str, **kwargs: object) -> None:
        if name.lstrip("-") not in skip:
            if isinstance(kwargs.get("default"), str):
                kwargs["help"] = f"{kwargs['help']} (default: {kwargs['default']})"
            group.add_argument(name, **kwargs)  # type: ignore[arg-type]

    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; wins over an original GPU flag")
    add("--precision", default="fp32", choices=PRECISIONS, help="precision of the forward passes in training")
    add("--compile", action="store_true", help="compile the network with torch.compile")
    if seed is not None:
        add("--seed", type=seed, default=seed_default, help="seed of every random draw")
    add("--resume", action="store_true", help="continue an interrupted run in the same output folder")
    if trains:
        words = "save and end after so many seconds of work, with status 0; --resume goes on (default: never)"
        add("--stop-after", type=positive, default=None, metavar="SECONDS", help=words)
    add("--output-dir", default=None, metavar="DIR", help="where the run's files go")
    add("--log-to", default="jsonl", choices=("jsonl", "tensorboard"), help="training curves beside metrics.jsonl")
    add("--data-dir", default=None, metavar="DIR", help="where named data sets are kept and downloaded to")
    add("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(group)


def deferred(module: str, function: str) -> Callable[[argparse.Namespace], int | None]:
    """A command that is imported when it runs: `--help` and mistyped flags are answered without loading torch."""

    def command(options: argparse.Namespace) -> int | None:
        found: int | None = getattr(import_module(module), function)(options)
        return found

    return command


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
        Exit status as in the head of this module.
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
        return _unread()
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


def _unread() -> int:
    """The status of a program that SIGPIPE ends; what Python writes to standard output at its end goes nowhere."""
    with contextlib.suppress(OSError, ValueError):  # no real standard output, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def _quiet_readers() -> None:
    """What readers of files warn of, half of it about files that are refused in a line of ours, is not shown."""
    for name in READERS:
        warnings.filterwarnings("ignore", module=rf"{name}\b")
        logging.getLogger(name).setLevel(logging.CRITICAL)


def dispatch(
    program: str,
    commands: Mapping[str, Callable[[Sequence[str] | None], int]],
    argv: Sequence[str] | None = None,
    about: Mapping[str, str] | None = None,
) -> int:
    """A console command with commands of its own: `program command flags…`.

    Args:
        program: its name, for messages.
        commands: by name; each takes its arguments and returns an exit status.
        argv: arguments without the program's name; `sys.argv[1:]` when None.
        about: by name, what each does, on one line; for `--help`.

    Returns:
        Exit status of the command; 2 when none, or one that is not known, was named.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(f"{program}: error: no command given. Known: {', '.join(commands)}.", file=sys.stderr)
        return 2
    if words[0] in {"-h", "--help"}:
        return _say(_commands(program, commands, about or {}))
    if words[0] == "--version":
        return _say(installed())
    if words[0] not in commands:
        known = did_you_mean(words[0], commands)
        print(f"{program}: error: command `{words[0]}` is not known. {known}", file=sys.stderr)
        return 2
    return commands[words[0]](words[1:])


def _commands(program: str, commands: Iterable[str], about: Mapping[str, str]) -> str:
    """The answer to `program --help`."""
    wide = max(map(len, commands), default=0)
    lines = [f"  {name:{wide}}  {about.get(name, '')}".rstrip() for name in commands]
    return "\n".join([f"usage: {program} COMMAND …", "", *lines, "", "Each answers --help; --version shows versions."])


def _say(text: str) -> int:
    """Print an answer; its exit status."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return _unread()
    return 0


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

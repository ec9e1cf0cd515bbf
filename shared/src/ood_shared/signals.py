"""SIGTERM, or an end of time, without half-made steps: at once outside training, at the next batch inside it."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from subprocess import Popen
from types import FrameType
from typing import Any, NoReturn

AGAIN_SECONDS = 0.02  # until a signal whose exception was dropped is sent again


class Terminated(BaseException):
    """SIGTERM arrived, or the time is over. A command that lets it pass ends with status 143, or 0.

    Args:
        saved: whether a loop raised it, which saves first; False where the signal struck at any other place.
    """

    def __init__(self, saved: bool = True) -> None:
        super().__init__()
        self.saved = saved


class TimeLimit:
    """How long a command may train: so many seconds from now; for ever when None."""

    def __init__(self, seconds: float | None = None) -> None:
        self._until = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether that time has passed."""
        return time.monotonic() >= self._until


_LIMIT: ContextVar[TimeLimit | None] = ContextVar("time limit of the command", default=None)


class StopRequest:
    """Set by SIGTERM inside `deferred_sigterm`, or by the command's time limit; a training loop looks at it."""

    def __init__(self) -> None:
        self._told, self._limit = False, _LIMIT.get() or TimeLimit()

    def tell(self) -> None:
        """Ask the loop to stop."""
        self._told = True

    @property
    def requested(self) -> bool:
        """Whether the loop is to save and stop between this batch and the next."""
        return self._told or self._limit.over

    def raise_if_requested(self) -> None:
        """Raise `Terminated` when SIGTERM has arrived or the time is over."""
        if self.requested:
            raise Terminated


@contextmanager
def time_limit(seconds: float | None) -> Iterator[TimeLimit]:
    """Inside the block the training loops stop after so many seconds, saving first; None sets no limit."""
    limit = TimeLimit(seconds)
    token = _LIMIT.set(limit)
    try:
        yield limit
    finally:
        _LIMIT.reset(token)


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside the block SIGTERM raises `Terminated` where the program is.

    A signal that strikes inside a compiled function or module may come out as the cause of a `SystemError` (NumPy's
    generators do that) or an `ImportError`, and one that strikes where a class is made, as in an import, as that of a
    `RuntimeError` (Python 3.11); the block raises the signal's own exception. Where Python drops every exception, as
    in a finaliser or in the callback of a weak reference, the signal is sent again a moment later; so is Ctrl-C.
    """

    def handler(signum: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(saved=False)

    with _handler(handler, signal.SIGTERM), _sent_again():
        try:
            yield
        except (SystemError, ImportError, RuntimeError) as error:
            stop = error.__cause__ or (None if isinstance(error, RuntimeError) else error.__context__)
            if isinstance(stop, Terminated | KeyboardInterrupt):
                raise stop from None
            raise


@contextmanager
def deferred_sigterm() -> Iterator[StopRequest]:
    """Inside the block SIGTERM only sets the request; the block decides when to save and raise `Terminated`."""
    stop = StopRequest()

    def handler(signum: int, frame: FrameType | None) -> None:
        stop.tell()

    with _handler(handler, signal.SIGTERM):
        yield stop


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside the block a further Ctrl-C or SIGTERM is not heard: what runs is being ended, which takes seconds."""
    with _handler(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def delayed() -> Iterator[None]:
    """Inside the block no signal calls Python code; who would have heard it hears it at the block's end.

    For steps that an exception must not cut in two: raised inside `Popen.poll` or `Popen.wait` with a timeout, it may
    leave the lock of `subprocess` taken, and the next wait for that process never ends.
    """
    heard: list[int] = []
    numbers = [number for number in signal.valid_signals() if callable(signal.getsignal(number))]

    def handler(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)

    try:
        with _handler(handler, *numbers):
            yield
    finally:
        for signum in dict.fromkeys(heard):
            signal.raise_signal(signum)


def status_of(process: Popen[Any]) -> int | None:
    """The exit status of a process, None while it runs; looked at whole, see `delayed`."""
    with delayed():
        return process.poll()


@contextmanager
def _sent_again() -> Iterator[None]:
    """Inside the block a signal is sent once more when Python could only report its exception and go on."""
    report, timers = sys.unraisablehook, list[threading.Timer]()

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        number = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(dropped.exc_type)
        if number is None:
            report(dropped)
            return
        timers.append(threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number)))
        timers[-1].daemon = True
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = report
        for timer in timers:
            timer.cancel()


@contextmanager
def _handler(handler: Callable[[int, FrameType | None], None] | signal.Handlers, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
        yield
        return
    previous = {}
    try:
        for number in numbers:
            previous[number] = signal.getsignal(number)  # noted first: a handler may raise between the two
            signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)

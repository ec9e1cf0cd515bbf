"""SIGTERM without half-made steps: at once outside training, at the next batch boundary inside it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM arrived. A command that lets it pass ends with status 143.

    Args:
        saved: whether a loop raised it, which saves first; False where the signal struck at any other place.
    """

    def __init__(self, saved: bool = True) -> None:
        super().__init__()
        self.saved = saved


class StopRequest:
    """Set by SIGTERM inside `deferred_sigterm`; a training loop looks at it between batches."""

    def __init__(self) -> None:
        self.requested = False

    def raise_if_requested(self) -> None:
        """Raise `Terminated` when SIGTERM has arrived."""
        if self.requested:
            raise Terminated


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside the block SIGTERM raises `Terminated` where the program is.

    A signal that strikes inside a compiled function may come out as the cause of a `SystemError` (NumPy's generators do
    that); the block raises the signal's own exception.
    """

    def handler(signum: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(saved=False)

    with _handler(handler):
        try:
            yield
        except SystemError as error:
            if isinstance(error.__cause__, Terminated | KeyboardInterrupt):
                raise error.__cause__ from None
            raise


@contextmanager
def deferred_sigterm() -> Iterator[StopRequest]:
    """Inside the block SIGTERM only sets the request; the block decides when to save and raise `Terminated`."""
    stop = StopRequest()

    def handler(signum: int, frame: FrameType | None) -> None:
        stop.requested = True

    with _handler(handler):
        yield stop


@contextmanager
def _handler(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

"""Images decoded ahead of their use by a few threads, in order, in a bounded room."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import UInt8

from ood_shared.datasets.decode import Encoded, decode
from ood_shared.datasets.pixels import Range
from ood_shared.errors import InputError

T = TypeVar("T")
CHUNK = 16  # images that a thread takes at a time
AHEAD = 32  # chunks that are read ahead
MOST_BYTES = 1 << 27  # of files, arrays and volumes that wait for a thread; one image more may be held


@dataclass(frozen=True)
class Item(Generic[T]):
    """An image, or why there is none.

    Attributes:
        name: of the image.
        pixels: what `convert` made of it; None when it cannot be read.
        problem: why not, one line; empty when it can.
    """

    name: str
    pixels: T | None
    problem: str = ""


def read_items(
    pending: Iterable[Encoded],
    convert: Callable[[UInt8[np.ndarray, "h w c"]], T],
    ahead: int = AHEAD,
    span: Range | None = None,
) -> Iterator[Item[T]]:
    """The images in order; those that cannot be read come with their problem.

    At most `16 ahead` results of `convert` wait, and as many images at their own size as there are threads.

    Args:
        pending: images to decode; taken as they are needed, in the caller's thread.
        convert: is called in the threads with uint8 (height, width, 1 or 3), such as to bring it to a network's size.
        ahead: chunks of 16 that are read ahead.
        span: of values of more than 8 bits (`datasets.pixels`); None: 0 to 65535 of 16 bits.
    """
    waiting: deque[tuple[Future[list[Item[T]]], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for chunk, size in _chunks(pending):
            waiting.append((pool.submit(_read, chunk, convert, span), size))
            held += size
            while len(waiting) > ahead or (held > MOST_BYTES and waiting):
                future, size = waiting.popleft()
                held -= size
                yield from future.result()
        while waiting:
            yield from waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def refused(name: str, error: BaseException) -> Encoded:
    """An image that cannot be read, for a reason that is known already."""

    def fail(*_: object) -> UInt8[np.ndarray, "h w c"]:
        raise error if isinstance(error, InputError) else InputError(f"{name} cannot be read ({error}).")

    return Encoded(0, name, fail)


def unread(name: str) -> Encoded:
    """An image of a kind that is not read."""
    kind = PurePath(name).suffix.lower()
    return refused(name, InputError(f"{name} is not read: nothing here reads {kind} files. Convert it to PNG."))


def guarded(name: str, images: Iterator[Encoded]) -> Iterator[Encoded]:
    """The images, and where their source breaks one that is refused, under its name."""
    try:
        yield from images
    except InputError as error:
        yield refused(name, error)


def _read(
    chunk: list[Encoded], convert: Callable[[UInt8[np.ndarray, "h w c"]], T], span: Range | None
) -> list[Item[T]]:
    items: list[Item[T]] = []
    while chunk:
        item = chunk.pop(0)  # what was encoded is let go when it is decoded
        try:
            items.append(Item(item.name, convert(decode(item, span=span))))
        except InputError as error:
            items.append(Item(item.name, None, str(error)))
    return items


def _chunks(pending: Iterable[Encoded]) -> Iterator[tuple[list[Encoded], int]]:
    """Some images at a time, and the bytes that they hold."""
    chunk: list[Encoded] = []
    size = 0
    for item in pending:
        chunk.append(item)
        size += item.held + (len(item.data) if isinstance(item.data, bytes) else getattr(item.data, "nbytes", 0))
        if len(chunk) == CHUNK or size > MOST_BYTES // AHEAD:
            yield chunk, size
            chunk, size = [], 0
    if chunk:
        yield chunk, size

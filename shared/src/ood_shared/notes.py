"""Notes: what a user should know of how data were read, a line each, once in a command however often they are read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ood_shared.errors import one_line

_said: set[str] | None = None  # in this command; None outside of one. Threads that read images say notes, too


@contextmanager
def each_once() -> Iterator[None]:
    """Inside the block, a command, no note is printed twice."""
    global _said
    before, _said = _said, set()
    try:
        yield
    finally:
        _said = before


def say(notes: Iterable[str]) -> None:
    """Print notes, each once, a line each; only the first of several processes does."""
    from ood_shared.distributed import is_main  # which loads torch; whoever has notes has read images, and has it

    said = set() if _said is None else _said
    for note in notes if is_main() else ():
        if note not in said:
            said.add(note)
            print(f"note: {one_line(note)}", flush=True)

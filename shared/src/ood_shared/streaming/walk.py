"""The files below a folder, in an order that does not change, in a room that does not grow with their number.

Of each folder its files come first, sorted by name, then its folders. A folder is listed anew for every 50,000 names,
so that one with a million files needs twenty listings and no more memory than one with 50,000. Links are followed, but
not into a folder that one is in already; hidden files and folders are not seen.
"""

import os
from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest

from ood_shared.datasets.tree import MOST_LINKS, is_folder, visible
from ood_shared.errors import InputError

LISTED = 50_000  # names of a folder in memory at a time


def files_below(
    folder: str, inside: tuple[tuple[int, int], ...] = (), reached: Counter[tuple[int, int]] | None = None
) -> Iterator[tuple[str, OSError | InputError | None]]:
    """Paths of all files; a folder that cannot be listed, or that links lead to again and again, comes with its error.

    Args:
        folder: to go through.
        inside: device and inode of the folders around it.
        reached: how often folders were come to by links, or below links.
    """
    reached = Counter() if reached is None else reached
    try:
        status = os.stat(folder)  # noqa: PTH116 (a million paths need not become objects)
        here = (status.st_dev, status.st_ino)
        if here in inside:
            return
        if reached or (inside and os.path.islink(folder)):  # noqa: PTH114
            reached[here] += 1
        if reached[here] > MOST_LINKS:
            yield folder, InputError(f"{folder}: links lead to this folder more than {MOST_LINKS} times.")
            return
        for name in _names(folder, folders=False):
            yield os.path.join(folder, name), None  # noqa: PTH118
        inner = _names(folder, folders=True)
        for name in inner:
            yield from files_below(os.path.join(folder, name), (*inside, here), reached)  # noqa: PTH118
    except OSError as error:
        yield folder, error


def _names(folder: str, folders: bool) -> Iterator[str]:
    """Names of the files or of the folders, sorted."""
    last = ""
    while True:
        with os.scandir(folder) as entries:
            later = (e.name for e in entries if e.name > last and visible(e.name) and is_folder(e) == folders)
            found = nsmallest(LISTED, later)
        yield from found
        if len(found) < LISTED:
            return
        last = found[-1]

"""A user's images one after another, however many there are: `read_items(pending_images(["./scans", "a.tar"]), f)`.

Module by module: `words` leads from what a user writes to images that are named and not yet read, with `walk` for
folders, `archives` and `arrays`; `reading` decodes them in threads, in order, some hundred at a time.
"""

from ood_shared.streaming.reading import Item, read_items
from ood_shared.streaming.words import pending_images, refuse_repeated

__all__ = ["Item", "pending_images", "read_items", "refuse_repeated"]

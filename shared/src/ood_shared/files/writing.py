"""Files that are either whole or not there: every write goes to a temporary sibling and is renamed.

That holds when the process is killed. Nothing is forced to the disk: waiting for it after every epoch of a small
network would cost more than the epoch.
"""

import glob
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFTOVER = ".part-"  # in the name of every temporary sibling: what a killed write leaves can be told from other files
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it takes the name `path` when the block ends without an error.

    Parents are created. The sibling keeps the suffix, for writers that look at it, and is removed on any error. A kill
    leaves it: `remove_leftovers` takes it away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:100]}{LEFTOVER}", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # a disk that fills up shows in a write, which names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, stem: str = "") -> list[str]:
    """Remove what killed writes left right in `folder`; the names. Only for one who holds the folder's lock.

    Args:
        folder: looked at without those inside it.
        stem: only of writes of a file whose name starts so.
    """
    pattern = f".{glob.escape(stem[:100])}*{LEFTOVER}????????*"
    names = sorted(file.name for file in folder.glob(pattern) if file.is_file())
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return names


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON with indentation 2, atomically. NaN and infinity are refused: JSON has no word for them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def csv_cell(text: str) -> str:
    """A text for a cell of a CSV: what a spreadsheet would take for a formula gets an apostrophe in front.

    >>> csv_cell("=1+1"), csv_cell("-0.25"), csv_cell("cats"), plain_cell("'=1+1")
    ("'=1+1", '-0.25', 'cats', '=1+1')
    """
    if not text.lstrip("'").startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def plain_cell(cell: str) -> str:
    """The text of a cell that `csv_cell` made."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

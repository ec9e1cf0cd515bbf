"""Files: written whole or not at all, read with bounds, and whatever is wrong with one said in one line.

Every reader of the project goes through `reading`, and through `read_bytes`, `read_text`, `read_json` or `read_yaml`
where the file is small: a pipe, a device or a file of gigabytes is refused before a byte of it is read.
"""

from ood_shared.files.reading import (
    broken,
    check_name,
    mapped,
    path_of,
    read_bytes,
    read_text,
    reading,
    real_path,
    refuse_same_folder,
    regular,
)
from ood_shared.files.structured import parse_json, parse_yaml, read_json, read_yaml
from ood_shared.files.writing import (
    LEFTOVER,
    atomic_path,
    csv_cell,
    plain_cell,
    remove_leftovers,
    write_json,
    write_text,
)

__all__ = [
    "LEFTOVER",
    "atomic_path",
    "broken",
    "check_name",
    "csv_cell",
    "mapped",
    "parse_json",
    "parse_yaml",
    "path_of",
    "plain_cell",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "reading",
    "real_path",
    "refuse_same_folder",
    "regular",
    "remove_leftovers",
    "write_json",
    "write_text",
]

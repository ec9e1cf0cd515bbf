"""Arrays that the project itself wrote: an `.npz` without pickled objects, whole in memory."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared.errors import InputError
from ood_shared.files.reading import reading, regular

MOST_BYTES = 1 << 34  # 16 GiB unpacked


def read_arrays(
    path: Path, what: str = "npz file", advice: str = "Make or fetch it again."
) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an `.npz`, by name.

    Args:
        path: of the file.
        what: it should be, for messages.
        advice: what to do when it is not.

    Raises:
        MissingFileError: it is not there.
        InputError: it is damaged, holds objects, or unpacks to more than 16 GiB.
    """
    regular(path, what=what)
    with reading(path, what, advice):
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        if size > MOST_BYTES:
            raise InputError(f"{path} unpacks to {size} bytes; at most {MOST_BYTES} are read. {advice}")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

"""Where datasets lie, and downloads that appear there only when they are whole.

The downloading itself, with its checksums, is torchvision's and medmnist's. It happens in a temporary folder beside the
final place, and the files are moved when it has succeeded; a run that dies leaves nothing that looks finished.
"""

import contextlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import path_of

PATIENCE_SECONDS = 30.0  # without an answer from the network


def data_root(root: str | Path | None = None) -> Path:
    """The folder of downloaded datasets: `root`, else `OOD_DATA_DIR`, else `ood-papers` in the user's cache folder."""
    if root is not None:
        return path_of(root)
    if os.environ.get("OOD_DATA_DIR"):
        return path_of(os.environ["OOD_DATA_DIR"])
    try:
        import pooch
    except ModuleNotFoundError:
        return Path.home() / ".cache" / "ood-papers"
    return Path(pooch.os_cache("ood-papers"))


def download_into(root: Path, download: Callable[[Path], object], absent: str) -> None:
    """Run `download` on a temporary folder and move what it left there into `root`.

    Args:
        root: final folder; made when it is missing, and not left behind empty.
        download: fetches into the folder it is given, checks hashes, raises when that fails.
        absent: what to say on failure: which file is missing, where to get it, where to put it.

    Raises:
        InputError: `root` cannot be written.
        MissingFileError: the download failed.
    """
    made = [path for path in (root, *root.parents) if not path.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=root, prefix=".download-"))
    except OSError as error:
        raise InputError(f"{root} cannot be written ({error.strerror}). Choose another data folder.") from error
    print(f"Downloading into {root}; without a network this is given up after a while.", flush=True)
    try:
        with _patience(), contextlib.redirect_stdout(io.StringIO()):  # mirrors that fail are announced there
            download(folder)
        _move(folder, root)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise MissingFileError(f"{absent} Downloading it needs the package {error.name}.") from error
    except Exception as error:  # libraries raise what they like here, down to a bare RuntimeError
        raise MissingFileError(f"{absent} Downloading it did not work ({type(error).__name__}).") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:  # from the innermost out; one with anything in it stays
            with contextlib.suppress(OSError):
                path.rmdir()


def _move(source: Path, target: Path) -> None:
    """Move the files below `source` to the same places below `target`."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            entry.replace(place)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""The file that a flag such as `--output` or `--csv` names, which must not be one that the command reads."""

from collections.abc import Iterable
from pathlib import Path

from ood_shared.datasets.formats import is_image
from ood_shared.datasets.nifti import SUFFIXES
from ood_shared.errors import InputError
from ood_shared.files import real_path

SCANS = (".dcm", *SUFFIXES)


def output_file(word: str, example: str, inputs: Iterable[str], flag: str = "--output") -> Path:
    """The file to write.

    Args:
        word: what the flag says.
        example: name of such a file, for messages.
        inputs: what the command reads: files, folders, `scan.nii.gz#17`; words that name neither do not count.
        flag: for messages.

    Raises:
        InputError: it is empty, a folder, one of the files that are read, or an image in one of the folders.
    """
    output = Path(word)
    if not word:
        raise InputError(f"{flag} is empty; name a file, such as {example}.")
    if output.is_dir():
        raise InputError(f"{flag} {output} is a folder; name a file, such as {output / example}.")
    if output.exists() and any(_is_input(output, name) for name in inputs):
        raise InputError(f"{flag} {output} is read by this command and would be overwritten. Name another file.")
    return output


def _is_input(output: Path, word: str) -> bool:
    words = (word, word.rpartition("#")[0]) if "#" in word else (word,)  # a slice, and its file
    path = next((path for path in map(Path, words) if _is_there(path)), None)
    if path is None or not path.is_dir():
        return path is not None and output.samefile(path)
    read = is_image(output.name) or output.name.lower().endswith(SCANS)
    return read and real_path(output).is_relative_to(real_path(path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no name that a file could have
        return False

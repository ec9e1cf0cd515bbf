"""The file that a flag such as `--output` or `--csv` names, which must not be one that the command reads."""

from collections.abc import Iterable
from pathlib import Path

from ood_shared.datasets.formats import is_image, scan_of
from ood_shared.datasets.nifti import SUFFIXES
from ood_shared.errors import InputError
from ood_shared.files import path_of, real_path

SCANS = (".dcm", *SUFFIXES)


def output_file(
    word: str, example: str, inputs: Iterable[str], flag: str = "--output", runs: Iterable[str] = ()
) -> Path:
    """The file to write.

    Args:
        word: what the flag says.
        example: name of such a file, for messages.
        inputs: what the command reads: files, folders, `scan.nii.gz#17`; words that name neither do not count.
        flag: for messages.
        runs: files, and folders of which any file may be read; only those that are named like the example may be
            written there once more.

    Raises:
        InputError: it is empty, no path (`path_of`), a folder, one of the files that are read, or an image in one of
            the folders.
    """
    if not word:
        raise InputError(f"{flag} is empty; name a file, such as {example}.")
    output = path_of(word)
    if output.is_dir():
        raise InputError(f"{flag} {output} is a folder; name a file, such as {output / example}.")
    kept = output.suffix != Path(example).suffix
    if output.exists() and (
        any(_is_input(output, name) for name in inputs) or any(_is_of(output, name, kept) for name in runs)
    ):
        raise InputError(f"{flag} {output} is read by this command and would be overwritten. Name another file.")
    return output


def _is_input(output: Path, word: str) -> bool:
    path = next((path for path in map(Path, (word, scan_of(word))) if _is_there(path)), None)
    if path is None or not path.is_dir():
        return path is not None and output.samefile(path)
    read = is_image(output.name) or output.name.lower().endswith(SCANS)
    return read and real_path(output).is_relative_to(real_path(path))


def _is_of(output: Path, word: str, kept: bool) -> bool:
    path = Path(word)
    if not word or not _is_there(path):
        return False
    return real_path(output).is_relative_to(real_path(path)) and kept if path.is_dir() else output.samefile(path)


def of_backbone(word: str | None) -> tuple[str, ...]:
    """What a word of `--backbone` may read: `net.onnx`, `torchvision:NAME=FILE`, `PACKAGE@RUN`; for `runs`."""
    return () if word is None else (word, *(word.partition(sign)[2] for sign in "=@"))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no name that a file could have
        return False

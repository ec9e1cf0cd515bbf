"""Files with several images: the frames of a DICOM file, `scan.dcm#3`, the slices of a NIfTI volume, `t1.nii.gz#17`.

Counted from 0. A DICOM file of one frame keeps its name. DICOM files are known by `.dcm` or by their magic word, as
many have no ending; NIfTI files by `.nii` and `.nii.gz`.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ood_shared.datasets import dicom, nifti
from ood_shared.datasets.decode import Encoded, is_image
from ood_shared.files import regular

HEAD = dicom.MAGIC_AT + len(dicom.MAGIC)  # bytes that tell DICOM
SLICED = (dicom.SUFFIX, *nifti.SUFFIXES)


def is_sliced(name: str) -> bool:
    """Whether the ending is that of a file that may hold several images."""
    return name.lower().endswith(SLICED)


def is_index(name: str) -> bool:
    """Whether a file's name is that of a DICOMDIR, which lists other files."""
    return name.rpartition("/")[2].upper() == "DICOMDIR"


def holds_images(path: Path, is_file: bool | None = None) -> bool:
    """Whether a file is read as one or more images: by its ending, and where that says nothing by its first bytes.

    Args:
        path: of the file.
        is_file: whether it is a regular file, where that is known.

    Raises:
        MissingFileError: by its name an image, and a link to nothing.
        InputError: by its name an image, and a pipe, a device or the like.
    """
    is_file = path.is_file() if is_file is None else is_file
    if is_image(path.name) or is_sliced(path.name):
        return is_file or bool(regular(path, what="an image"))
    try:
        return is_file and not is_index(path.name) and dicom.has_magic(_head(path))
    except OSError:
        return False


def is_headed(name: str, head: bytes) -> bool:
    """Whether a file of this name that starts so is read as one or more images; see `holds_images`."""
    known = is_image(name) or is_sliced(name)
    return known or (not is_index(name) and dicom.has_magic(head))


def images_in(name: str, source: bytes | Path) -> Iterator[Encoded]:
    """The images of a file, decoded only when they are asked for; a file that is no DICOM or NIfTI file is one image.

    Args:
        name: of the file, for messages and in front of `#`.
        source: the file, or its path.

    Raises:
        MissingFileError: no such DICOM or NIfTI file.
        InputError: one that cannot be read.
    """
    if name.lower().endswith(nifti.SUFFIXES):
        volume = nifti.Volume(name, source)
        share = volume.held // volume.count
        for number in range(volume.count):
            yield Encoded(number, f"{name}#{number}", partial(volume.slice, number), share)
    elif name.lower().endswith(dicom.SUFFIX) or (not is_image(name) and dicom.has_magic(_head(source))):
        count = dicom.frame_count(name, source)
        held = len(source) // count if isinstance(source, bytes) else 0
        for number in range(count):
            read = partial(dicom.read_frame, name, source, number)
            yield Encoded(number, f"{name}#{number}" if count > 1 else name, read, held)
    else:
        yield Encoded(0, name, source)


def _head(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD]
    try:
        if not source.is_file():
            return b""
        with source.open("rb") as file:
            return file.read(HEAD)
    except OSError:  # whoever decodes it says so
        return b""

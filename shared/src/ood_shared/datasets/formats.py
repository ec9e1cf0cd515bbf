"""Which files are images by their endings, and which look like images and are not read: they are counted and said."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    *(".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".avif"),
    *(".tga", ".pcx", ".qoi", ".sgi", ".ras"),
)  # upper or lower case
PILLOW_FORMATS = (
    *("PNG", "JPEG", "TIFF", "BMP", "DIB", "PPM", "WEBP", "GIF", "JPEG2000", "AVIF", "PCX", "QOI", "SGI"),
    "SUN",
)  # by what a file holds; the others of Pillow start programs, or hold no pixels
WITHOUT_MAGIC = {".tga": "TGA"}  # formats that are known by the ending alone
UNREAD = (
    *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".svg", ".svgz", ".eps", ".ai", ".psd", ".xcf", ".ico", ".icns"),
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw", ".exr", ".hdr"),
    *(".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2", ".vsi", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz"),
    *(".djvu", ".dds", ".wmf", ".emf", ".xpm", ".xbm", ".fits", ".fit"),
)  # hold images, and nothing here reads them


def is_image(name: str) -> bool:
    """Whether the extension is one that is read."""
    return name.lower().endswith(EXTENSIONS)


def is_unread(name: str) -> bool:
    """Whether the extension is that of an image that is not read."""
    return name.lower().endswith(UNREAD)


def left_out(unread: Iterable[str], read: int) -> tuple[str, ...]:
    """A note about images that are not read; none where there are none.

    Args:
        unread: their names.
        read: how many files are read.

    >>> left_out(["a/1.heic", "a/2.HEIC"], 34)
    ('2 of 36 files left out (.heic): files of that kind are not read. Convert them to PNG.',)
    """
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in unread)
    if not kinds:
        return ()
    count = sum(kinds.values())
    listed = ", ".join(sorted(kinds))
    note = f"{count} of {count + read} files left out ({listed})"
    return (f"{note}: files of that kind are not read. Convert them to PNG.",)


def scan_of(name: str) -> str:
    """The scan of a slice `scan.nii.gz#17`; else the name, also where `#` stands in those of files and folders."""
    scan, _, number = name.rpartition("#")
    return scan if scan and number.isdecimal() else name

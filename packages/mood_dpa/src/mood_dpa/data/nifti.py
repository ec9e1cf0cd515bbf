"""Reading a NIfTI file: whatever is odd about it is said in one line, or read as the standard means it.

Source: NIfTI-1 and NIfTI-2 headers, https://nifti.nimh.nih.gov. The fields that decide what the numbers mean (size and
kind of the voxels, scale, orientation) are looked at before nibabel mends them without a word.
"""

import gzip
import logging
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError, reading, regular

FORM_CODES = range(6)  # of sform_code and qform_code: unknown, scanner, aligned, Talairach, MNI 152, other template
GZIP = b"\x1f\x8b"
DEFLATE_MOST = 1100  # times that deflate makes of its input at most
MOST_BYTES = 1 << 36  # of voxels, unpacked: 64 GiB
FLAT = 1e-6  # volume of a voxel over that of a box of its edges, at least
KINDS = {1: "one-bit", 128: "RGB", 2304: "RGBA", 32: "complex", 1792: "complex", 2048: "complex"}  # by datatype
MAGIC = {348: b"n+1\0", 540: b"n+2\0\r\n\x1a\n"}  # by sizeof_hdr
FIRST = {348: 352, 540: 544}  # byte of the first voxel at least
_QUIET = logging.getLogger("mood_dpa.nifti")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def read_nifti(path: Path, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], Any]:
    """Voxels, affine and header of a file with one volume.

    Trailing axes of length 1 are dropped: (x, y, z, 1) is one volume. A file is unpacked when it begins as gzip does,
    whatever its name says.

    Args:
        path: of a regular file.
        dtype: of the voxels.

    Raises:
        MissingFileError: the file is not there.
        InputError: cut short or no NIfTI, another number of dimensions, voxels that are no numbers, a scale that is
            not finite, intensities that `dtype` does not hold, or an orientation that means nothing.
    """
    size = regular(path, what="a NIfTI volume").st_size
    with reading(path, "NIfTI file", "It may be cut short; fetch it again."), np.errstate(all="ignore"):
        with _opened(path) as file:
            header, affine = _header(path, file)
            shape = _shape(path, header)
            _refuse_lies(path, header, size)
            from nibabel.arrayproxy import ArrayProxy

            voxels = ArrayProxy(file, header, mmap=False)
            data = np.asarray(voxels, dtype=dtype)
            if np.isinf(data).any() and not np.array_equal(np.isinf(data), np.isinf(np.asarray(voxels, np.float64))):
                raise InputError(
                    f"{path} has intensities beyond {np.finfo(data.dtype).max:.3g}, the greatest that {data.dtype} "
                    "holds. Divide them by a power of ten first."
                )
            _check_sum(file)
        return data.reshape(shape, order="A"), affine, header


def read_nifti_affine(path: Path) -> npt.NDArray[np.float64]:
    """The affine alone, from the header; errors as `read_nifti`."""
    regular(path, what="a NIfTI volume")
    with (
        reading(path, "NIfTI file", "It may be cut short; fetch it again."),
        np.errstate(all="ignore"),
        _opened(path) as file,
    ):
        return _header(path, file)[1]


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _check_sum(file: IO[bytes]) -> None:
    """Reach the end of what was packed, where gzip compares the checksum; bytes behind it mean nothing."""
    try:
        file.read(1)
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):
            raise


def _header(path: Path, file: IO[bytes]) -> tuple[Any, npt.NDArray[np.float64]]:
    import nibabel

    block = file.read(max(MAGIC))
    sizes = {order: int(np.frombuffer(block[:4].ljust(4, b"\0"), f"{order}i4")[0]) for order in "<>"}
    order, length = next(((order, size) for order, size in sizes.items() if size in MAGIC), ("<", 0))
    if block[:2] == GZIP:
        raise InputError(f"{path} was packed by gzip twice. Unpack it once.")
    if not length or len(block) < length:
        raise InputError(
            f"{path} is cut short or is no NIfTI file (sizeof_hdr is {sizes['<']}, not 348 or 540). Fetch it again."
        )
    magic = block[344:348] if length == 348 else block[4:12]
    if magic != MAGIC[length]:
        raise InputError(
            f"{path} is not a NIfTI volume in one file: its magic is {magic!r}, expected {MAGIC[length]!r}. Convert it "
            "to .nii.gz."
        )
    kind: Any = nibabel.Nifti1Header if length == 348 else nibabel.Nifti2Header
    raw = kind(block[:length], order, check=False)
    if not 1 <= int(raw["dim"][0]) <= 7:
        raise InputError(f"{path} is damaged: it says that it has {int(raw['dim'][0])} dimensions. Fetch it again.")
    code = int(raw["datatype"])
    if code in KINDS:
        raise InputError(f"{path} has {KINDS[code]} voxels (datatype {code}); expected one real number each.")
    slope, shift = float(raw["scl_slope"]), float(raw["scl_inter"])
    if not (np.isfinite(slope) and np.isfinite(shift)):
        raise InputError(
            f"{path}: scl_slope is {slope:g} and scl_inter {shift:g}, so its intensities mean nothing. Correct the "
            "header."
        )
    if 0 <= float(raw["vox_offset"]) < FIRST[length]:
        raise InputError(
            f"{path}: vox_offset is {float(raw['vox_offset']):g}, so its header would be read as voxels; expected at "
            f"least {FIRST[length]}. Correct the header."
        )
    for name in ("sform_code", "qform_code"):
        if int(raw[name]) not in FORM_CODES:
            raise InputError(
                f"{path}: {name} is {int(raw[name])}, which NIfTI does not define (0 to {FORM_CODES[-1]}); its "
                "orientation means nothing. Correct the header."
            )
    header = raw.copy()
    header.check_fix(logger=_QUIET, error_level=40)
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    refuse_flat(path, affine)
    return header, affine


def refuse_flat(name: object, affine: npt.NDArray[np.float64]) -> None:
    """Refuse an affine that cannot be inverted.

    Raises:
        InputError: names the volume.
    """
    if affine.shape == (4, 4) and np.isfinite(affine).all():
        lengths = np.linalg.norm(affine[:3, :3], axis=0)  # in mm, or in the metres of a file that counts in these
        if abs(np.linalg.det(affine[:3, :3])) > FLAT * np.prod(lengths):
            return
    raise InputError(f"{name}: the affine cannot be inverted, so its voxels have no place. Correct the header.")


def _shape(path: Path, header: Any) -> tuple[int, ...]:
    """The three lengths of the volume."""
    full = tuple(int(n) for n in header.get_data_shape())
    shape = full[:3]
    if len(shape) != 3 or any(n != 1 for n in full[3:]):
        raise InputError(
            f"{path} has {len(full)} dimensions {full}; expected one volume with 3. "
            "Cut a series into its volumes first."
        )
    return shape


def _refuse_lies(path: Path, header: Any, size: int) -> None:
    """Refuse a header that promises more voxels than the file can hold, before memory is taken for them."""
    wanted = int(np.prod([int(n) for n in header.get_data_shape()], dtype=object)) * header.get_data_dtype().itemsize
    with path.open("rb") as file:
        held = size * DEFLATE_MOST if file.read(2) == GZIP else size - int(header.get_data_offset())
    if wanted > held:
        raise InputError(
            f"{path} is cut short: its header promises {wanted} bytes of voxels, of {size} in the file. Fetch it again."
        )
    if wanted > MOST_BYTES:
        raise InputError(f"{path} has {wanted} bytes of voxels; at most {MOST_BYTES} are read.")

"""Reading and writing NIfTI volumes: checked on the way in, whole files with the input's affine on the way out."""

import gzip
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError, MissingFileError, atomic_path

SUFFIXES = (".nii", ".nii.gz")
FORM_CODES = range(6)  # of sform_code and qform_code: unknown, scanner, aligned, Talairach, MNI 152, other template
COMPRESSION = 1  # of gzip: four times as fast as the usual 9 and a few percent longer


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume.

    Attributes:
        name: file name.
        data: (n0, n1, n2) in the file's own axes.
        affine: (4, 4), voxel indices to millimetres.
        header: the file's header, for what is written beside it.
    """

    name: str
    data: npt.NDArray[Any] = field(repr=False)
    affine: npt.NDArray[np.float64]
    header: Any = field(repr=False, default=None)


def is_volume(name: str) -> bool:
    """Whether a file name ends as NIfTI does; hidden files are none."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def list_volumes(folder: Path) -> list[Path]:
    """The volumes of a folder, sorted by name; other files are left out.

    Raises:
        MissingFileError: no such folder.
        InputError: it holds no volume.
    """
    if not folder.is_dir():
        raise MissingFileError(f"Folder {folder} is missing; it should hold volumes (*.nii.gz).")
    paths = sorted(path for path in folder.iterdir() if is_volume(path.name))
    if not paths:
        raise InputError(f"{folder} holds no volume (*.nii or *.nii.gz).")
    return paths


def base_name(name: str) -> str:
    """The name up to the first dot."""
    return name.split(".")[0]


def case_id(name: str) -> str:
    """The part of a file name that tells the case: up to the first `_`, without extension."""
    return base_name(name).split("_")[0]


def refuse_equal(names: Iterable[str], part_of: Callable[[str], str], what: str) -> None:
    """Refuse files that a later step could not tell from each other.

    Args:
        names: file names.
        part_of: `base_name` or `case_id`, what must differ.
        what: that part is, for the message.

    Raises:
        InputError: names two files with the same part.
    """
    seen: dict[str, str] = {}
    for name in names:
        part = part_of(name)
        if part in seen:
            raise InputError(
                f"{seen[part]} and {name} have the same {what}, `{part}`, so one would be taken for the other; "
                "rename them."
            )
        seen[part] = name


def read_volume(path: Path, dtype: npt.DTypeLike = np.float32) -> Volume:
    """Read and check one volume.

    Args:
        path: `.nii` or `.nii.gz`.
        dtype: of the data; intensities are those of the file, no scale is applied but the file's own.

    Raises:
        MissingFileError: the file is not there.
        InputError: cut short or no NIfTI, not three-dimensional, empty, voxels that are not finite, or an orientation
            that means nothing.
    """
    import nibabel

    if not path.is_file():
        raise MissingFileError(f"Volume {path} is missing.")
    try:
        with nibabel.imageglobals.LoggingOutputSuppressor():  # type: ignore[no-untyped-call]
            image: Any = nibabel.load(path)  # type: ignore[attr-defined]
        if not isinstance(image, nibabel.Nifti1Image):  # type: ignore[attr-defined]
            raise InputError(f"{path} is not a NIfTI volume but {type(image).__name__}.")
        shape, affine, header = image.shape, image.affine, image.header
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            raw = type(header).from_fileobj(file, check=False)  # nibabel sets codes that it does not know to 0
        _check_orientation(path, raw, affine)
        if len(shape) != 3:
            raise InputError(
                f"{path} has {len(shape)} dimensions {tuple(shape)}; expected one volume with 3. "
                "Cut a series into its volumes first."
            )
        data = np.asarray(image.dataobj, dtype=dtype)
    except (EOFError, zlib.error, gzip.BadGzipFile, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{path} is cut short or is no NIfTI file ({error}). Fetch it again.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError | PermissionError):
            raise
        raise InputError(f"{path} is cut short or damaged ({str(error)[:100]}). Fetch it again.") from None
    check_voxels(str(path), data)
    return Volume(path.name, data, np.asarray(affine, dtype=np.float64), header)


def check_voxels(name: str, data: npt.NDArray[Any]) -> None:
    """Refuse a volume without voxels, or with some that are not finite.

    Raises:
        InputError: names the first.
    """
    if data.size == 0:
        raise InputError(f"{name} has no voxel: {tuple(data.shape)}.")
    bad = data.size - int(np.isfinite(data).sum())
    if bad:
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise InputError(f"{name} has {bad} voxels that are NaN or infinite, the first at {where}. Replace them first.")


def as_image(data: npt.NDArray[Any], like: Volume | npt.NDArray[np.float64]) -> Any:
    """A NIfTI image of data in its own type, with the affine (and the orientation codes) of another volume.

    Args:
        data: float32 or uint8.
        like: the volume whose space it is in, or an affine.
    """
    import nibabel

    affine = like.affine if isinstance(like, Volume) else like
    image = nibabel.Nifti1Image(data, affine)  # type: ignore[attr-defined, no-untyped-call]
    if isinstance(like, Volume) and like.header is not None:
        for name in ("sform", "qform"):
            code = int(like.header[f"{name}_code"])
            matrix = getattr(like.header, f"get_{name}")(coded=False)
            getattr(image, f"set_{name}")(matrix if code else affine, code)
        image.header.set_xyzt_units(*like.header.get_xyzt_units())
        if not (int(like.header["sform_code"]) or int(like.header["qform_code"])):
            image.set_sform(affine, 1)  # without a code every reader would make up its own affine
    image.header.set_data_dtype(data.dtype)
    return image


def write_volume(path: Path, data: npt.NDArray[Any], like: Volume | npt.NDArray[np.float64]) -> None:
    """Write a volume with the affine (and the orientation codes) of another, whole or not at all.

    Args:
        path: `.nii` or `.nii.gz`.
        data: float32 or uint8; written in its own type.
        like: the volume whose space it is in, or an affine.
    """
    content = as_image(data, like).to_bytes()
    with atomic_path(path) as temporary:
        if path.name.endswith(".gz"):
            content = gzip.compress(content, COMPRESSION, mtime=0)
        temporary.write_bytes(content)


def rescaled(data: npt.NDArray[Any], low: float = 0.1, high: float = 99.9) -> npt.NDArray[np.float32]:
    """Intensities in [0, 1]: linear between two percentiles, clipped outside.

    Args:
        data: any intensities (Hounsfield units, MR signal, …).
        low: percentile that becomes 0.
        high: percentile that becomes 1.
    """
    bottom, top = (float(value) for value in np.percentile(data, (low, high)))
    scaled = np.clip((data - bottom) / max(top - bottom, 1e-12), 0, 1)
    return scaled.astype(np.float32)


def _check_orientation(path: Path, header: Any, affine: npt.NDArray[Any]) -> None:
    for name in ("sform_code", "qform_code"):
        code = int(header[name])
        if code not in FORM_CODES:
            raise InputError(
                f"{path}: {name} is {code}, which NIfTI does not define (0 to {FORM_CODES[-1]}); its orientation means "
                "nothing. Correct the header."
            )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: the affine cannot be inverted, so its voxels have no place. Correct the header.")

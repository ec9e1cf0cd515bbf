"""A folder with the slices of a CT or MR series as one volume.

Slices are sorted along the normal of their plane (ImageOrientationPatient) by ImagePositionPatient. The array has
(column, row, slice) as axes, and the affine goes to millimetres of RAS, as in NIfTI; DICOM itself counts to the left
and to the back. Values are rescaled by slope and intercept where the slices have them (CT: Hounsfield units), or by
their modality table, else they are those that are stored; either all slices have such a rule or none has.
Source: DICOM PS3.3, C.7.6.2 (Image Plane) and C.11.1 (Modality LUT).

One series a folder; needs pydicom, from the extra `dicom`.
"""

import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError, check_name, reading, regular

MAGIC, MAGIC_AT = b"DICM", 128
SUFFIXES = (".dcm", ".dicom", ".ima")
TRIED = 20  # files of a folder without an ending of DICOM that are opened to see what it holds
MOST_BYTES = 1 << 30  # of one slice
EVEN = 0.02  # share of the spacing by which the distances of slices may differ
TAGS = (
    *("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    "SamplesPerPixel",
)
SCALE = "RescaleSlope", "RescaleIntercept"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_series(folder: Path) -> bool:
    """Whether this is a folder that holds DICOM slices."""
    return folder.is_dir() and not folder.name.startswith(".") and next(_slices(folder), None) is not None


def _slices(folder: Path) -> Iterator[Path]:
    """The files of a folder that are DICOM, by their ending or their first bytes."""
    tried = 0
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        ending = Path(entry.name).suffix.lower()
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR" or not entry.is_file():
            continue
        if ending in SUFFIXES:
            yield Path(entry.path)
        elif ending == "" or ending[1:].isdecimal():  # names without an ending, and UIDs
            tried += 1
            if _has_magic(Path(entry.path)):
                tried = 0
                yield Path(entry.path)
            if tried > TRIED:
                return


def read_series(folder: Path, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """The voxels (columns, rows, slices) of a series and its affine.

    Args:
        folder: with one series.
        dtype: of the voxels.

    Raises:
        InputError: pydicom is not installed; several series; a slice that is missing, damaged, compressed in a way
            that pydicom cannot unpack here, or of another plane or size than the others.
    """
    headers = _sorted(folder, [(path, _read(path, pixels=False)) for path in _slices(folder)])
    affine = _affine(folder, headers)
    planes = []
    for path, _ in headers:
        data = _read(path, pixels=True)
        with reading(path, "DICOM slice", "Write it uncompressed, or fetch it again."), _quiet():
            planes.append(_values(data).astype(dtype).T)
    return np.stack(planes, axis=2), affine


def _values(data: Any) -> npt.NDArray[np.float64]:
    """Of a slice, in the unit that its rule gives: by a table, by slope and intercept, or as they are stored."""
    if data.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(data.pixel_array, data), dtype=np.float64)
    slope, shift = (data.get(name) for name in SCALE)
    slope, shift = (1.0 if slope is None else float(slope)), (0.0 if shift is None else float(shift))
    return np.asarray(data.pixel_array, dtype=np.float64) * slope + shift


def read_series_affine(folder: Path) -> npt.NDArray[np.float64]:
    """The affine alone; errors as `read_series`."""
    return _affine(folder, _sorted(folder, [(path, _read(path, pixels=False)) for path in _slices(folder)]))


def _mapped(file: IO[bytes]) -> Any:  # mmap.mmap, which pydicom's types do not know
    """A file that gives no more than it has: a damaged length asks for no memory, as of a plain file."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read(path: Path, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError:
        raise InputError(
            f"{path.parent} holds DICOM, which needs pydicom, which is not installed: pip install pydicom."
        ) from None
    check_name(path.name, path.parent)
    regular(path, MOST_BYTES, "a DICOM slice")
    with reading(path, "DICOM slice"), _quiet(), path.open("rb") as file, _mapped(file) as content:
        data = pydicom.dcmread(content, stop_before_pixels=not pixels)
        frames, samples = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
        coloured = str(data.get("PhotometricInterpretation", "")) == "PALETTE COLOR"
        if frames != 1 or samples != 1 or coloured:
            found = "the colours of a palette" if coloured else f"{samples} values a pixel"
            found = f"{frames} frames" if frames != 1 else found
            raise InputError(f"{path} has {found}; expected one grey slice a file. Convert it to NIfTI.")
        lacking = next((tag for tag in TAGS if data.get(tag) in (None, "")), None)
        if lacking is not None:
            raise InputError(
                f"{path} lacks {lacking}: it is cut short, or no slice of a CT or MR series. Fetch it again, or move "
                "it elsewhere."
            )
        _plane(data)
        slope, shift = (float(data.get(name) or 0) for name in SCALE)
        if not np.isfinite([slope, shift]).all() or (slope == 0 and data.get("RescaleSlope") is not None):
            raise ValueError(f"RescaleSlope is {slope:g} and RescaleIntercept {shift:g}")
    return data


def _plane(data: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Position of the first pixel, directions (2, 3) along a row and down a column, spacing (2,) along them; mm."""
    position = np.array([float(v) for v in data.ImagePositionPatient])
    directions = np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3)
    between_rows, between_columns = (float(v) for v in data.PixelSpacing)
    spacing = np.array([between_columns, between_rows])
    gram = directions @ directions.T
    if position.shape != (3,) or not np.isfinite([*position, *spacing]).all() or (spacing <= 0).any():
        raise ValueError("its position or spacing means nothing")
    if not np.allclose(gram, np.eye(2), atol=1e-3):
        raise ValueError("its directions are no unit vectors at right angles")
    return position, directions, spacing


def _sorted(folder: Path, slices: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """The slices of one series in the order of their places along the normal."""
    series: dict[str, list[Path]] = {}
    for path, data in slices:
        series.setdefault(str(data.SeriesInstanceUID), []).append(path)
    if len(series) > 1:
        shown = "; ".join(f"{len(paths)} slices of {uid} ({paths[0].name}, …)" for uid, paths in series.items())
        raise InputError(f"{folder} holds {len(series)} DICOM series, expected one a folder. Divide them: {shown}.")
    if len(slices) < 2:
        raise InputError(f"{folder} holds {len(slices)} DICOM slice; a volume needs at least 2.")
    first_path, first = slices[0]
    _, directions, spacing = _plane(first)
    for path, data in slices[1:]:
        _, turned, apart = _plane(data)
        same = (data.Rows, data.Columns) == (first.Rows, first.Columns) and np.allclose(apart, spacing, rtol=1e-3)
        if not same or not np.allclose(turned, directions, atol=1e-3):
            raise InputError(
                f"{folder}: {first_path.name} and {path.name} differ in size, spacing or direction; expected parallel "
                "slices of one size. Divide them."
            )
    scaled: dict[bool, Path] = {}
    for path, data in slices:
        scaled.setdefault(any(data.get(name) is not None for name in (*SCALE, "ModalityLUTSequence")), path)
    if len(scaled) > 1:
        raise InputError(
            f"{folder}: {scaled[True].name} has a slope or an intercept and {scaled[False].name} has none, so their "
            "values have different units. Complete or divide them."
        )
    normal = np.cross(*directions)
    return sorted(slices, key=lambda entry: float(_plane(entry[1])[0] @ normal))


def _affine(folder: Path, slices: list[tuple[Path, Any]]) -> npt.NDArray[np.float64]:
    """Of sorted slices: column, row and slice index to mm of RAS."""
    positions = np.array([_plane(data)[0] for _, data in slices])
    _, directions, spacing = _plane(slices[0][1])
    steps = np.diff(positions @ np.cross(*directions))
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > max(EVEN * usual, 1e-3)) if usual > 1e-3 else np.array([0])
    if len(odd):
        before, after = (slices[odd[0] + i][0].name for i in (0, 1))
        raise InputError(
            f"{folder}: {before} and {after} lie {steps[odd[0]]:.3g} mm apart, the slices usually {usual:.3g} mm; a "
            f"slice is missing or there twice ({len(odd)} such places in {len(slices)} slices). Complete the series."
        )
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = directions[0] * spacing[0], directions[1] * spacing[1]
    lps[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    lps[:3, 3] = positions[0]
    return np.asarray(LPS_TO_RAS @ lps, dtype=np.float64)


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """No lines of pydicom about values that it reads all the same."""
    import pydicom.config

    log, before = logging.getLogger("pydicom"), logging.getLogger("pydicom").level
    log.setLevel(logging.CRITICAL)
    try:
        with pydicom.config.disable_value_validation():
            yield
    finally:
        log.setLevel(before)

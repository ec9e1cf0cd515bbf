"""DICOM and NIfTI files for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def write_dicom(path: Path, pixels: npt.NDArray[Any], **attributes: Any) -> Path:
    """Write a DICOM file.

    Args:
        path: of the file.
        pixels: whole numbers of 8 or 16 bits, (h, w) or (frames, h, w); or colours, uint8 (h, w, 3).
        attributes: by keyword, such as `WindowCenter=40`; `syntax` is the transfer syntax.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    colours, bits = pixels.dtype == np.uint8 and pixels.shape[2:] == (3,), 8 * pixels.dtype.itemsize
    data: Any = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = attributes.pop("syntax", ExplicitVRLittleEndian)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colours else (1, "MONOCHROME2")
    if colours:
        data.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=True)
    return path


def write_nifti(path: Path, voxels: npt.NDArray[Any]) -> Path:
    """Write a NIfTI volume, with an affine of 1 mm."""
    import nibabel

    image: Any = nibabel.Nifti1Image
    nibabel.save(image(voxels, np.eye(4)), path)
    return path

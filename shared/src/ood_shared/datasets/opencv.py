"""What OpenCV decodes: colours of 16 bits per channel, of which Pillow keeps the upper 8 without rounding, or none.

Everything else is Pillow's, whose numbers the original programs have. (Plain PNG files decode to the same bytes here
and there; of the time that a folder takes OpenCV saved a tenth, within the noise.)
"""

import cv2
import numpy as np
import numpy.typing as npt

FULL_16, FULL_8 = 65535, 255


def decode_16_bit_colour(data: bytes) -> npt.NDArray[np.uint8] | None:
    """The pixels (height, width, 3) of a colour image of 16 bits, 65535 becoming 255; None when it is none.

    Rounded to the nearest of 256 levels; transparency is dropped.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return None
    wide = pixels[:, :, 2::-1].astype(np.uint32)  # blue, green, red (, alpha) -> red, green, blue
    return ((wide * FULL_8 + FULL_16 // 2) // FULL_16).astype(np.uint8)

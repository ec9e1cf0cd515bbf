"""Capital letters A to Z, drawn from the fonts that matplotlib carries: a near-OOD set for digits.

White on black, 28x28, fitted into a box of 20x20 as MNIST digits are, then turned and shifted a little. Every split has
fonts of its own: train 6 fonts x 26 letters x 2 draws = 312 images, val 2 x 26 x 2 = 104, test 8 x 26 x 2 = 416.
Turns and shifts come from fixed seeds; the pixels also depend on the version of FreeType inside Pillow.
"""

import importlib.util
import string
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ood_shared.datasets.imageset import ImageSet
from ood_shared.errors import InputError, MissingFileError, not_installed

SIDE, BOX = 28, 20  # pixels of an image, and of the square into which the upright letter is fitted
OVERSAMPLING = 4  # drawn so many times larger, then averaged
MAX_TURN, MAX_SHIFT = 12.0, 1.5  # degrees, pixels
DRAWS = 2
FONTS = {
    "train": (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSans-Oblique",
        "DejaVuSans-BoldOblique",
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
    ),
    "val": ("DejaVuSerif", "DejaVuSerif-Bold"),
    "test": (
        "STIXGeneral",
        "STIXGeneralBol",
        "STIXGeneralItalic",
        "STIXGeneralBolIta",
        "cmr10",
        "cmb10",
        "cmss10",
        "cmtt10",
    ),
}
SEEDS = {"train": 26_001, "val": 26_002, "test": 26_003}


def load_letters(split: str) -> ImageSet:
    """The letters of a split as an `ImageSet`: font by font, A to Z, two draws each.

    Raises:
        InputError: matplotlib is not installed, or this Pillow cannot draw fonts.
        MissingFileError: the installed matplotlib lacks a font.
    """
    images, labels = _drawn(split, *(_font_file(name) for name in FONTS[split]))
    return ImageSet(
        images.copy(),
        labels.copy(),
        tuple(string.ascii_uppercase),
        "drawn by ood_shared from matplotlib's fonts: DejaVu, STIX and BaKoMa Computer Modern licences",
        "letters",
    )


@cache  # drawing takes longer than to score the letters by a small network
def _drawn(split: str, *font_files: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, SIDE, SIDE, 1) and labels (n,)."""
    # Only `random()`: its stream is guaranteed to stay the same over versions of NumPy.
    generator = np.random.Generator(np.random.PCG64(SEEDS[split]))
    images, labels = [], []
    for path in font_files:
        for label, letter in enumerate(string.ascii_uppercase):
            for _ in range(DRAWS):
                turn, right, down = (2 * generator.random(3) - 1) * (MAX_TURN, MAX_SHIFT, MAX_SHIFT)
                images.append(_draw(path, letter, turn, right, down))
                labels.append(label)
    return np.stack(images)[..., None], np.array(labels, dtype=np.int64)


def _draw(font_file: Path, letter: str, turn: float, right: float, down: float) -> npt.NDArray[np.uint8]:
    """One letter as (SIDE, SIDE) uint8, turned by `turn` degrees and moved by `right` and `down` pixels."""
    side, box = SIDE * OVERSAMPLING, BOX * OVERSAMPLING
    try:
        trial = ImageFont.truetype(font_file, 100, layout_engine=ImageFont.Layout.BASIC)
        left, top, end, bottom = trial.getbbox(letter)
        fitted = trial.font_variant(size=100 * box / max(end - left, bottom - top))
    except (ImportError, OSError) as error:
        raise InputError(f"This Pillow cannot draw with {font_file.name} ({error}). Install Pillow again.") from error
    left, top, end, bottom = fitted.getbbox(letter)
    canvas = Image.new("L", (side, side))
    corner = (
        (side - (end - left)) / 2 - left + right * OVERSAMPLING,
        (side - (bottom - top)) / 2 - top + down * OVERSAMPLING,
    )
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=fitted)
    turned = canvas.rotate(turn, resample=Image.Resampling.BILINEAR)
    return np.asarray(turned.reduce(OVERSAMPLING))


def _font_file(name: str) -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise not_installed("`letters`, drawn from its fonts,", "matplotlib", "report")
    path = Path(next(iter(spec.submodule_search_locations))) / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
    if not path.is_file():
        raise MissingFileError(
            f"The installed matplotlib does not carry the font {name}.ttf. Install matplotlib again."
        )
    return path

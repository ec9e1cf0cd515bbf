"""Waterbirds in miniature: digits on textures, made from images that come inside installed packages.

In Waterbirds (Sagawa et al., ICLR 2020) the class of a bird goes with the background, land or water, in 90 % of the
training images and in half of the others; the spurious OOD images are backgrounds without birds (Ming et al., AAAI
2022). Here the classes are two groups of handwritten digits and the backgrounds are bricks and gravel:

=====================  =============================================================================================
train, val, test       digits 0 to 3 and 4 to 7, black or white, on tinted crops of a texture
ood/near/backgrounds   the same textures without a digit
ood/near/foreign       digits 8 and 9, which no training image shows, on the same textures
ood/far                a third texture (grass), photos, faces and letters
ood/val                photos, other tiles than those of ood/far; for searches of hyper-parameters
=====================  =============================================================================================

Digits, rows of the textures and tiles of the photographs are those of `ood_shared.datasets` for the same split, so that
no split shows what another one showed. Everything is drawn from one seed.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ood_shared import files
from ood_shared.datasets import load
from ood_shared.datasets.embedded import TEXTURE_ROWS, TILE, read_picture
from ood_shared.errors import InputError
from PIL import Image

SIDE = 32  # pixels of an image
DIGIT = 20  # pixels to which a digit of 8 is enlarged
CLASSES = {"0-3": (0, 1, 2, 3), "4-7": (4, 5, 6, 7)}  # in the order of their folders
FOREIGN = (8, 9)
BACKGROUNDS = ("brick", "gravel")  # of the class at the same place, where the two go together
UNSEEN = "grass"
DRAWS = {"train": 2, "val": 2, "test": 2}  # images of each digit
EMPTY = 400  # backgrounds without a digit, and crops of the unseen texture
TINT = 0.6  # least factor of a channel: gradient outliers change single channels, which grey images would give away
MANIFEST = "spurious.json"
FAR = ("photos", "faces", "letters")


@dataclass(frozen=True)
class Settings:
    """What decides the images.

    Attributes:
        correlation: share of the training images of a class on its own background, from 0 to 1.
        opacity: of the darkest ink of a digit, from 0 to 1.
        seed: of all draws.
    """

    correlation: float = 0.9
    opacity: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("correlation", "opacity"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected a share from 0 to 1.")


@dataclass(frozen=True, eq=False)
class Part:
    """Images of one kind.

    Attributes:
        images: uint8 (n, side, side, 3).
        labels: int64 (n,), places in `CLASSES`; -1 where there is no digit of a class.
        backgrounds: int64 (n,), places in `BACKGROUNDS`.
        ink: float64 (n, side, side), how much of each pixel is the digit, from 0 to `opacity`.
    """

    images: npt.NDArray[np.uint8] = field(repr=False)
    labels: npt.NDArray[np.int64] = field(repr=False)
    backgrounds: npt.NDArray[np.int64] = field(repr=False)
    ink: npt.NDArray[np.float64] = field(repr=False)


def id_part(split: str, settings: Settings) -> Part:
    """Digits of both classes; on their own background in the share `correlation` (train) or in half (val, test)."""
    chance = np.random.default_rng([settings.seed, tuple(DRAWS).index(split)])
    digits = load("digits", split)
    label_of = {digit: label for label, group in enumerate(CLASSES.values()) for digit in group}
    chosen = [at for at, digit in enumerate(digits.labels) if int(digit) in label_of] * DRAWS[split]
    labels = np.array([label_of[int(digits.labels[at])] for at in chosen], dtype=np.int64)
    backgrounds = np.empty_like(labels)
    share = settings.correlation if split == "train" else 0.5
    for label in range(len(CLASSES)):
        members = chance.permutation(np.flatnonzero(labels == label))
        own = round(share * len(members))
        backgrounds[members[:own]], backgrounds[members[own:]] = label, 1 - label
    return _composed(digits.images[chosen, :, :, 0], labels, backgrounds, split, settings, chance)


def foreign_part(settings: Settings) -> Part:
    """Test digits that belong to no class, each once on each background."""
    chance = np.random.default_rng([settings.seed, 10])
    digits = load("digits", "test")
    found = digits.images[np.isin(digits.labels, FOREIGN), :, :, 0]
    backgrounds = np.arange(2 * len(found)) % 2
    labels = np.full(2 * len(found), -1, dtype=np.int64)
    return _composed(np.repeat(found, 2, axis=0), labels, backgrounds, "test", settings, chance)


def empty_part(settings: Settings, textures: tuple[str, ...] = BACKGROUNDS) -> Part:
    """Test crops of textures without a digit, `EMPTY` in all."""
    chance = np.random.default_rng([settings.seed, 11, len(textures)])
    nothing = np.zeros((EMPTY, 8, 8), dtype=np.uint8)
    places = np.arange(EMPTY) % len(textures)
    return _composed(nothing, np.full(EMPTY, -1, dtype=np.int64), places, "test", settings, chance, textures)


def write_spurious(folder: Path, settings: Settings | None = None) -> None:
    """The whole set as a folder that `--id-data folder:PATH` reads; what is there with the same settings is kept.

    Files are named after their background, such as `train/0-3/brick_0007.png`. The folder appears whole or not at all.

    Raises:
        InputError: the folder is there with other settings or without a manifest; or the packages that carry the images
            are not installed.
    """
    settings = settings or Settings()
    facts = {**vars(settings), "classes": list(CLASSES), "backgrounds": list(BACKGROUNDS), "draws": DRAWS}
    if folder.exists():
        if not (folder / MANIFEST).is_file() or files.read_json(folder / MANIFEST) != facts:
            raise InputError(f"{folder} is there, but not with these settings. Delete it or name another folder.")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for split in DRAWS:
            _save(id_part(split, settings), made / split, tuple(CLASSES))
        _save(empty_part(settings), made / "ood/near/backgrounds")
        _save(foreign_part(settings), made / "ood/near/foreign")
        _save_images(empty_part(settings, (UNSEEN,)).images, made / "ood/far" / UNSEEN)
        for name in FAR:
            _save_images(load(name, "test", channels=3).images, made / "ood/far" / name)
        _save_images(load("photos", "train", channels=3).images, made / "ood/val/photos")
        files.write_json(made / MANIFEST, facts)
        made.chmod(0o755)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _composed(
    digits: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    backgrounds: npt.NDArray[np.int64],
    split: str,
    settings: Settings,
    chance: np.random.Generator,
    textures: tuple[str, ...] = BACKGROUNDS,
) -> Part:
    """Each 8x8 digit at a place of its own, in black or white, over a tinted crop of its texture."""
    rows = TEXTURE_ROWS[split]
    pictures = [read_picture("skimage", f"data/{name}.png", "L") for name in textures]
    parts = [picture[rows.start * TILE : rows.stop * TILE, :, 0] for picture in pictures]
    images, ink = [], np.zeros((len(digits), SIDE, SIDE))
    for at, (digit, background) in enumerate(zip(digits, backgrounds, strict=True)):
        part = parts[background]
        top, left = (int(chance.integers(0, length - SIDE + 1)) for length in part.shape)
        tinted = part[top : top + SIDE, left : left + SIDE, None] * chance.uniform(TINT, 1, 3)  # (side, side, 3)
        enlarged = Image.fromarray(digit).resize((DIGIT, DIGIT), Image.Resampling.BILINEAR)
        down, right = (int(place) for place in chance.integers(0, SIDE - DIGIT + 1, 2))
        ink[at, down : down + DIGIT, right : right + DIGIT] = settings.opacity * np.asarray(enlarged) / 255
        colour = 255 * int(chance.integers(0, 2))
        share = ink[at][..., None]
        images.append(np.rint((1 - share) * tinted + share * colour).astype(np.uint8))
    return Part(np.stack(images), labels, backgrounds, ink)


def _save(part: Part, folder: Path, classes: tuple[str, ...] = ()) -> None:
    """Images by class where there are classes, named after their background where that varies."""
    for at, (image, label, background) in enumerate(zip(part.images, part.labels, part.backgrounds, strict=True)):
        below = folder / classes[label] if label >= 0 else folder
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(below / f"{BACKGROUNDS[background]}_{at:04d}.png")


def _save_images(images: npt.NDArray[np.uint8], folder: Path) -> None:
    folder.mkdir(parents=True)
    for at, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{at:04d}.png")

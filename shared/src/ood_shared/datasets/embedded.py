"""Real images that come inside installed packages: digits, and the OOD sets textures, faces and photos.

They need no network and no download. The files are read straight from the package folders of scikit-learn and
scikit-image, without importing the packages. Nothing here is random: the same versions give the same bytes.

| set | images | size | splits (train, val, test) |
|---|---|---|---|
| digits | 1797 handwritten digits, 10 classes | 8x8 grey | about 60 / 15 / 25 % of every class |
| textures | tiles of brick, grass, gravel | 32x32 grey | 336, 96, 336; other rows of each picture |
| faces | 100 faces of LFW | 25x25 grey | test only |
| photos | reduced tiles of six photographs | 32x32 RGB | 226, 63, 210; other columns of each photograph |
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ood_shared.datasets.imageset import SPLITS, ImageSet, missing_split
from ood_shared.datasets.letters import load_letters
from ood_shared.errors import InputError, MissingFileError, not_installed
from ood_shared.files import reading

EMBEDDED_OOD = ("textures", "faces", "photos", "letters")
EMBEDDED = ("digits", *EMBEDDED_OOD)

TILE = 32
TEXTURES = ("brick", "grass", "gravel")
TEXTURE_ROWS = {"train": range(0, 7), "val": range(7, 9), "test": range(9, 16)}
# Two packages, and their folders and files. All are in the public domain, CC0 or CC BY 2.0.
PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
PHOTO_TILE = 48  # pixels of the photograph; reduced to TILE, so that a tile shows more than a smooth patch
PHOTO_CONTRAST = (
    4.0  # least standard deviation of a tile, in its best channel: empty sky would repeat one tile 60 times
)
DIGIT_CYCLE = 20  # of every 20 successive images of a class, 12 are for training, 3 for validation and 5 for testing
DIGIT_PLACES = {"test": (0, 4, 8, 12, 16), "val": (2, 9, 15)}


def load_embedded(name: str, split: str) -> ImageSet:
    """An embedded set by its name.

    Raises:
        InputError: the package that carries it is not installed, or the set lacks the split.
        MissingFileError: the installed version of the package does not carry the file.
    """
    loaders: dict[str, Callable[[str], ImageSet]] = {
        "digits": load_digits,
        "textures": load_textures,
        "faces": load_faces,
        "photos": load_photos,
        "letters": load_letters,
    }
    if split not in SPLITS:
        raise missing_split(f"`{name}`", split, SPLITS)
    return loaders[name](split)


def load_digits(split: str) -> ImageSet:
    """Handwritten digits (8x8, 16 grey levels stored as round(255 v / 16), which keeps the levels apart).

    The split goes by the place of an image among those of its class, in a cycle of 20: no random numbers, every class
    in every split in the same share, each image in exactly one. The 13 writers are spread over all splits.
    """
    table = np.loadtxt(package_file("sklearn", "datasets/data/digits.csv.gz"), delimiter=",", dtype=np.int64)
    labels = table[:, 64]
    place = np.empty_like(labels)
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        place[members] = np.arange(len(members)) % DIGIT_CYCLE
    other = [spot for spots in DIGIT_PLACES.values() for spot in spots]
    chosen = ~np.isin(place, other) if split == "train" else np.isin(place, DIGIT_PLACES[split])
    images = np.rint(table[chosen, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    licence = (
        "UCI Optical Recognition of Handwritten Digits, test part (Alpaydin, Kaynak); CC BY 4.0; from scikit-learn"
    )
    return ImageSet(images, labels[chosen], tuple("0123456789"), licence, "digits")


def load_textures(split: str) -> ImageSet:
    """Tiles of 32x32 pixels of three grey pictures of 512x512, without overlap; every split has rows of its own."""
    tiles, labels = [], []
    for label, texture in enumerate(TEXTURES):
        picture = read_picture("skimage", f"data/{texture}.png", "L")
        rows = TEXTURE_ROWS[split]
        cut = _tiles(picture[rows.start * TILE : rows.stop * TILE], TILE)
        tiles.append(cut)
        labels.append(np.full(len(cut), label, dtype=np.int64))
    licence = "brick, grass, gravel of scikit-image; CC0"
    return ImageSet(np.concatenate(tiles), np.concatenate(labels), TEXTURES, licence, "textures")


def load_faces(split: str) -> ImageSet:
    """The 100 faces (25x25) of scikit-image's excerpt of Labeled Faces in the Wild; its 100 non-faces are left out."""
    if split != "test":
        raise missing_split("`faces`", split, ["test"], "It has only 100 images.")
    path = package_file("skimage", "data/lfw_subset.npy")
    try:
        faces = np.load(path, allow_pickle=False)[:100]  # float64 in [0, 1], resampled by its makers
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}). Install scikit-image again.") from error
    images = np.rint(faces * 255).astype(np.uint8)[..., None]
    licence = "Labeled Faces in the Wild (Huang et al.), excerpt of scikit-image; for research"
    return ImageSet(images, np.zeros(len(images), dtype=np.int64), ("face",), licence, "faces")


def load_photos(split: str) -> ImageSet:
    """Tiles of six photographs, 48x48 pixels without overlap, reduced to 32x32. The class is the photograph.

    Training tiles come from the left of each photograph, test tiles from the right, validation from between. Tiles of
    empty sky are left out.
    """
    tiles, labels = [], []
    for label, (package, file) in enumerate(PHOTOS.values()):
        picture = read_picture(package, file, "RGB")
        columns = picture.shape[1] // PHOTO_TILE
        first, second = round(0.45 * columns), round(0.55 * columns)
        start, stop = {"train": (0, first), "val": (first, second), "test": (second, columns)}[split]
        cut = _tiles(picture[:, start * PHOTO_TILE : stop * PHOTO_TILE], PHOTO_TILE)
        cut = cut[cut.std(axis=(1, 2)).max(axis=1) >= PHOTO_CONTRAST]
        tiles += [_reduced(tile) for tile in cut]
        labels += [label] * len(cut)
    licence = (
        "china and flower of scikit-learn, CC BY 2.0 (danielbuechele, vultilion); astronaut (NASA) and rocket "
        "(SpaceX), public domain, chelsea (S. van der Walt) and coffee (R. Michetti), CC0, of scikit-image"
    )
    return ImageSet(np.stack(tiles), np.array(labels, dtype=np.int64), tuple(PHOTOS), licence, "photos")


def package_file(package: str, file: str) -> Path:
    """Path of a file inside an installed package, which is not imported.

    Raises:
        InputError: the package is not installed.
        MissingFileError: it has no such file.
    """
    distribution = {"sklearn": "scikit-learn", "skimage": "scikit-image"}[package]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise not_installed("This set, which is read from its files,", distribution, "embedded")
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        raise MissingFileError(f"The installed {distribution} does not carry {file}. Install {distribution} again.")
    return path


def read_picture(package: str, file: str, mode: str) -> npt.NDArray[np.uint8]:
    """A picture inside an installed package, (height, width, 1) for mode `L` or (height, width, 3) for `RGB`."""
    path = package_file(package, file)
    with reading(path, "picture", "Install the package anew."), Image.open(path) as picture:
        pixels = np.asarray(picture.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)


def _tiles(picture: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Cut (height, width, channels) into whole squares, row by row: (n, side, side, channels)."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    whole = picture[: rows * side, : columns * side]
    squares = whole.reshape(rows, side, columns, side, -1).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(squares.reshape(rows * columns, side, side, -1))


def _reduced(tile: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(tile).resize((TILE, TILE), Image.Resampling.BILINEAR))

"""Where a method fails, as pictures: the ID images with the highest scores and the OOD images with the lowest.

    write_pictures(folder, arrays, {options.id: benchmark.test, **benchmark.ood}, benchmark.classes)
    write_result(folder, result, arrays)  # last: where it stands, the run is complete

`pictures.npz` is optional: a method on volumes leaves none. It stands beside `scores.npz` and must come from the same
scores; this is checked when it is written and again when it is read. Pictures are kept small, for a page.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8

from ood_shared import files
from ood_shared.errors import InputError
from ood_shared.files import reading
from ood_shared.files.arrays import read_arrays
from ood_shared.results.schema import AGAIN, PICTURES, ScoreArrays, split_scores

__all__ = ["PICTURES", "Picture", "Pictures", "png_of", "read_pictures", "write_pictures"]

MOST = 8  # pictures of a set
LARGEST_SIDE = 48  # pixels; 13 methods with 7 sets still make a page that is sent by mail

Images = npt.NDArray[Any] | torch.Tensor  # (n, 1 or 3, height, width)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a set.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        row: position in its set, as in `scores.npz`.
        score: higher means more OOD.
        label: class of an ID image; -1 for OOD.
        prediction: class that the method chose; -1 where it chooses none.
    """

    image: UInt8[np.ndarray, "height width 3"]
    row: int
    score: float
    label: int
    prediction: int


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a run.

    Attributes:
        sets: by name, ID first: highest score first there, lowest score first in the OOD sets.
        classes: names of the ID classes; empty when they were not told.
    """

    sets: Mapping[str, tuple[Picture, ...]]
    classes: tuple[str, ...] = ()


def write_pictures(
    folder: Path | str,
    arrays: Mapping[str, npt.NDArray[Any]],
    sets: Mapping[str, Images],
    classes: Sequence[str] = (),
    most: int = MOST,
) -> None:
    """Choose the pictures and write them, whole or not at all.

    Args:
        folder: where `result.json` and `scores.npz` lie; made when missing.
        arrays: of `pack_scores`.
        sets: for every name in `arrays`, ID first, the images in the order of their scores: (n, channels, height,
            width) with 1 or 3 channels, tensor on any device or array; uint8, or floats with 0 for black and 1 for
            white. Floats beyond are shown as the nearer end. Only the chosen images are copied.
        classes: names of the ID classes, in the order of the labels.
        most: pictures of each set.

    Raises:
        InputError: other sets than those of the scores, or images of another number or form.
    """
    names = arrays["names"].tolist()
    if list(sets) != names:
        raise InputError(f"Pictures were given the sets {list(sets)}; expected those of the scores: {names}.")
    found: dict[str, list[Any]] = {name: [] for name in ("rows", "scores", "labels", "predictions", "dataset")}
    images: dict[str, npt.NDArray[np.uint8]] = {}
    for position, (name, scores) in enumerate(zip(names, split_scores(arrays), strict=True)):
        _check_images(sets[name], len(scores), name)
        rows = np.argsort(-scores if position == 0 else scores, kind="stable")[:most]
        own = arrays["dataset"] == position
        images[_key(position)] = np.stack([_thumbnail(_as_rgb(sets[name], int(row))) for row in rows])
        found["rows"].append(rows)
        found["scores"].append(scores[rows])
        found["labels"].append(arrays["labels"][own][rows])
        found["predictions"].append(arrays["predictions"][own][rows])
        found["dataset"].append(np.full(len(rows), position))
    stored: dict[str, Any] = {name: np.concatenate(parts) for name, parts in found.items()}
    stored |= images | {"names": np.array(names, dtype=np.str_), "classes": np.array(list(classes), dtype=np.str_)}
    with files.atomic_path(Path(folder) / PICTURES) as temporary:
        np.savez_compressed(temporary, **stored)


def read_pictures(folder: Path | str, arrays: ScoreArrays) -> Pictures | None:
    """What `write_pictures` left beside the scores `arrays`; None when it left nothing.

    Raises:
        InputError: the file is damaged, or of other scores.
    """
    path = Path(folder) / PICTURES
    if not path.is_file():
        return None
    stored = read_arrays(path, "file of pictures", AGAIN)
    with reading(path, "file of pictures", AGAIN):
        return _check(stored, arrays, path)


def png_of(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The image as the bytes of a PNG file, without colour where it has none."""
    from PIL import Image

    grey = bool((image == image[..., :1]).all())
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if grey else image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _check(stored: Mapping[str, npt.NDArray[Any]], arrays: ScoreArrays, path: Path) -> Pictures:
    names = stored["names"].tolist()
    if names != arrays["names"].tolist():
        raise InputError(f"{path} has pictures of {names}; expected {arrays['names'].tolist()}. Run the method again.")
    columns = ("rows", "scores", "labels", "predictions", "dataset")
    rows, shown, labels, predictions, dataset = (stored[column] for column in columns)
    if len({stored[column].shape for column in columns}) > 1 or rows.ndim != 1 or rows.dtype.kind != "i":
        raise InputError(f"{path}: {', '.join(columns)} are not numbers of one length. Run the method again.")
    sets: dict[str, tuple[Picture, ...]] = {}
    for position, (name, scores) in enumerate(zip(names, split_scores(arrays), strict=True)):
        own, images = dataset == position, stored[_key(position)]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != own.sum():
            raise InputError(
                f"{path}: the images of {name} are {images.dtype} of shape {images.shape}; expected uint8 of shape "
                f"({own.sum()}, height, width, 3). Run the method again."
            )
        inside = (rows[own] >= 0) & (rows[own] < len(scores))
        if not inside.all() or not np.array_equal(scores[rows[own]], shown[own]):
            raise InputError(f"{path}: the scores of {name} are not those of scores.npz. Run the method again.")
        numbers = zip(images, rows[own], shown[own], labels[own], predictions[own], strict=True)
        sets[name] = tuple(Picture(i, int(row), float(s), int(lab), int(p)) for i, row, s, lab, p in numbers)
    return Pictures(sets, tuple(stored["classes"].tolist()))


def _check_images(images: Images, count: int, name: str) -> None:
    whole = images.dtype in (torch.uint8, np.uint8)
    real = images.is_floating_point() if isinstance(images, torch.Tensor) else images.dtype.kind == "f"
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) != count or not (whole or real):
        raise InputError(
            f"Pictures of `{name}` were given {images.dtype} images of shape {tuple(images.shape)}; expected uint8 or "
            f"floats of shape ({count}, 1 or 3, height, width)."
        )


def _as_rgb(images: Images, row: int) -> npt.NDArray[np.uint8]:
    """One image as uint8 (height, width, 3)."""
    image = images[row]
    if isinstance(image, torch.Tensor):
        image = (image if image.dtype == torch.uint8 else image.detach().float()).cpu().numpy()
    if image.dtype != np.uint8:
        image = np.rint(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    rgb = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def _thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image with its longer side at most `LARGEST_SIDE`."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def _key(position: int) -> str:
    return f"images_{position}"

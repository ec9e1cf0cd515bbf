"""11: image files of every Pillow mode to normalised grey tensors, and float images to files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.datasets import load
from ood_shared.datasets.resizing import luma
from ood_shared.loaders import to_float
from ood_shared.testing.golden import Golden, cases, golden_dir, stems, tensors
from oodgen.data.png import to_uint8, write_png
from PIL import Image

GOLDEN = Golden(golden_dir("oodgen", Path(__file__).parent))
ARRAYS = GOLDEN.npz("11_image_io")
ATOL = 1e-6


def mean_and_std(scale: str) -> tuple[float, float]:
    meta = GOLDEN.json("00_meta")
    return (meta["mean"], meta["std"]) if scale == "mnist" else (0.5, 0.5)


def read(mode: str, folder: Path) -> torch.Tensor:
    """Grey pixels (1, 1, H, W) of a file of this mode, read as the commands read a folder of images."""
    raw = ARRAYS[f"raw_{mode}"]
    if mode == "RGBA":  # opaque: transparency, which the original drops, is laid on white here
        raw = np.dstack([raw[..., :3], np.full(raw.shape[:2], 255, np.uint8)])
    image = Image.fromarray(raw)
    if mode == "P":
        image = image.convert("L") if image.mode != "L" else image
        image.putpalette(ARRAYS["palette_P"].flatten().tolist())
    assert image.mode == mode
    path = folder / "test" / "class" / "image.png"
    path.parent.mkdir(parents=True)
    image.save(path)
    found = torch.from_numpy(load(str(folder), "test").images).permute(0, 3, 1, 2)
    return luma(found) if found.shape[1] == 3 else found


@pytest.mark.parametrize("mode", cases(ARRAYS, "raw_*", "rgb_*"))
def test_every_mode_becomes_the_luma_of_its_rgb(mode: str, tmp_path: Path) -> None:
    red, green, blue = np.moveaxis(ARRAYS[f"rgb_{mode}"].astype(np.int64), -1, 0)
    expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    np.testing.assert_array_equal(read(mode, tmp_path)[0, 0], expected)


def test_transparency_is_laid_on_white_where_the_original_drops_it(tmp_path: Path) -> None:
    raw = ARRAYS["raw_RGBA"]
    path = tmp_path / "test" / "class" / "image.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(raw).save(path)
    share = raw[..., 3:].astype(np.int64)
    expected = (share * raw[..., :3] + (255 - share) * 255 + 127) // 255
    np.testing.assert_array_equal(load(str(tmp_path), "test").images[0], expected)


@pytest.mark.parametrize(
    ("scale", "mode"), [(s, mode) for s in ("mnist", "fmnist") for mode in stems(ARRAYS, "raw_*", f"{s}_*")]
)
def test_every_mode_is_normalised_as_recorded(mode: str, scale: str, tmp_path: Path) -> None:
    found = to_float(read(mode, tmp_path), *mean_and_std(scale))[0]
    np.testing.assert_allclose(found, ARRAYS[f"{scale}_{mode}"], rtol=0, atol=ATOL)


def test_float_images_are_quantised_as_recorded() -> None:
    found = to_uint8(*tensors(ARRAYS, "save_in"))
    np.testing.assert_array_equal(found[0], ARRAYS["save_out"][..., 0])


def test_written_files_read_back_as_three_equal_channels(tmp_path: Path) -> None:
    write_png(tmp_path / "outlier.png", to_uint8(*tensors(ARRAYS, "save_in"))[0].numpy())
    with Image.open(tmp_path / "outlier.png") as image:
        np.testing.assert_array_equal(np.array(image.convert("RGB")), ARRAYS["save_out"])

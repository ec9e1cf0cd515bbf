"""The original's way to a pixel outlier: one PIL image after the other, draws from NumPy's old generator."""

from collections.abc import Callable

import numpy as np
import torch
from know_your_space.operators import OPERATORS, SIGNED, UNSCALED
from know_your_space.transforms import MEAN, STD
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

Picture = Image.Image
ENHANCERS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}


def operate(picture: Picture, name: str, u: float, negative: bool, canvas: int) -> Picture:
    """One operator, with Pillow."""
    sign = -1 if negative else 1
    if name == "autocontrast":
        return ImageOps.autocontrast(picture)
    if name == "equalize":
        return ImageOps.equalize(picture)
    if name == "posterize":
        bits = 4 - int(u * 4 / 10)
        return ImageOps.posterize(picture, bits) if bits > 0 else picture.point([0] * 256 * 3)
    if name == "solarize":
        return ImageOps.solarize(picture, 256 - int(u * 256 / 10))
    if name == "rotate":
        return picture.rotate(sign * int(u * 30 / 10), resample=Image.Resampling.BILINEAR)
    if name in ENHANCERS:
        return ENHANCERS[name](picture).enhance(u * 1.8 / 10 + 0.1)
    shear, shift = sign * u * 0.3 / 10, sign * int(u * (canvas / 3) / 10)
    matrix = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }[name]
    return picture.transform((canvas, canvas), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)


def prepare(picture: Picture, side: int = 32) -> Tensor:
    """Resized, in [0, 1], normalised."""
    small = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    return torch.from_numpy((small - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1).float()


def draw(severity: float, random: np.random.RandomState) -> dict:
    """All numbers of one image, in the original's order."""
    ws, m = np.float32(random.dirichlet([1] * 3)), np.float32(random.beta(1, 1))
    chains = []
    for _ in range(3):
        chain = []
        for _ in range(random.randint(1, 4)):
            step = {"op": OPERATORS[random.randint(0, len(OPERATORS))]}
            if step["op"] not in UNSCALED:
                step["level"] = random.uniform(0.1, severity)
            if step["op"] in SIGNED:
                step["u_sign"] = random.uniform()
            chain.append(step)
        chains.append(chain)
    return {"ws": ws, "m": m, "chains": chains}


def mix(picture: Picture, draws: dict, canvas: int, place: Callable[[Picture, int], Picture] | None = None) -> Tensor:
    """The mixture; `place` moves the picture before it is prepared: number 0 is the image, 1 to 3 its chains."""
    moved = place or (lambda image, _: image)
    mixture = torch.zeros(3, 32, 32)
    for number, chain in enumerate(draws["chains"], start=1):
        changed = picture.copy()
        for step in chain:
            changed = operate(changed, step["op"], step.get("level", 0.0), step.get("u_sign", 0.0) > 0.5, canvas)
        mixture += float(draws["ws"][number - 1]) * prepare(moved(changed, number))
    m = float(draws["m"])
    return (1 - m) * prepare(moved(picture, 0)) + m * mixture

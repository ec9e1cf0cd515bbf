"""The thirteen operators of AugMix on batches of uint8 images, each image with an operator and magnitude of its own.

    magnitude u ~ U(0.1, severity), nominal scale 10; int() truncates
    posterize    4 - int(4 u / 10) bits; 0 bits is black       color, contrast,        factor 1.8 u / 10 + 0.1
    solarize     invert from 256 - int(256 u / 10) on          brightness, sharpness
    rotate       int(30 u / 10) degrees                        shear_x, shear_y        0.3 u / 10
    translate_x, translate_y   int(canvas u / 30) pixels       autocontrast, equalize  no magnitude

Rotations, shears and translations take a sign. Shears and translations draw on a square canvas, with the image in its
upper left corner. The results are Pillow's, pixel by pixel. Operators, magnitudes and signs live on the CPU, so that
sorting the images by operator never waits for the device.

Source: Hendrycks et al., *AugMix*, ICLR 2020, with Pillow's definitions.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from ood_shared.devices import send
from torch import Tensor

OPERATORS = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y"),
    *("translate_x", "translate_y", "color", "contrast", "brightness", "sharpness"),
)
UNSCALED = ("autocontrast", "equalize")
SIGNED = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
ON_CANVAS = SIGNED[1:]
TABLES = ("autocontrast", "equalize", "posterize", "solarize", "contrast", "brightness")
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 16 binary digits

Pixels = UInt8[Tensor, "batch 3 height width"]
Group = tuple[Int64[Tensor, " rows"], Pixels]


def codes(*names: str) -> Int64[Tensor, " names"]:
    """Positions of operators in `OPERATORS`."""
    return torch.tensor([OPERATORS.index(name) for name in names])


def apply_operators(
    pixels: Pixels,
    operators: Int64[Tensor, " batch"],
    magnitudes: Float64[Tensor, " batch"],
    negative: Bool[Tensor, " batch"],
    canvas: int,
) -> Iterator[Group]:
    """Apply to each image its operator.

    Args:
        pixels: images of one size.
        operators: positions in `OPERATORS`, on the CPU.
        magnitudes: u, before scaling, on the CPU.
        negative: whether a signed operator goes the other way, on the CPU.
        canvas: side of the canvas that shears and translations draw on, pixels.

    Yields:
        (rows, images) for one kind of operator after the other; rows on the CPU. The images of shears and translations
        are `canvas` x `canvas`, the others keep their size.
    """
    signed = torch.where(negative, -1.0, 1.0).double()
    family = torch.tensor([next(i for i, (names, _) in enumerate(FAMILIES) if name in names) for name in OPERATORS])
    numbers = family[operators]
    for number, (_, function) in enumerate(FAMILIES):
        rows = (numbers == number).nonzero().squeeze(1)
        if len(rows):
            images = pixels.index_select(0, send(rows, pixels.device))
            yield rows, function(images, operators[rows], magnitudes[rows], signed[rows], canvas)


def warp(
    pixels: Pixels, matrices: Float64[Tensor, "batch 6"], size: tuple[int, int]
) -> UInt8[Tensor, "batch 3 rows columns"]:
    """Output pixel (x, y) is the source at (a x + b y + c, d x + e y + f), pixel centres at halves.

    Bilinear with the border repeated, truncated to whole grey levels, black outside the source. In float64, as the
    truncation would show the rounding of float32 (float32 on Metal: one grey level may differ there).

    Args:
        pixels: images of one size.
        matrices: (a, b, c, d, e, f) of each image, on the CPU.
        size: height and width of the output.
    """
    height, width = pixels.shape[2:]
    exact = torch.float32 if pixels.device.type == "mps" else torch.float64
    a, b, c, d, e, f = send(matrices.to(exact), pixels.device).T[:, :, None, None]
    x = torch.arange(size[1], device=pixels.device).to(exact) + 0.5
    y = torch.arange(size[0], device=pixels.device).to(exact).unsqueeze(1) + 0.5
    # A coordinate that one axis leaves alone needs no grid; whole pixels need no neighbour, translations none at all.
    at_x = a * x + c if not matrices[:, 1].any() else a * x + b * y + c  # (batch, 1 or rows, columns)
    at_y = e * y + f if not matrices[:, 3].any() else d * x + e * y + f  # (batch, rows, 1 or columns)
    inside = ((at_x >= 0) & (at_x < width)) & ((at_y >= 0) & (at_y < height))
    whole_x, whole_y = _whole(matrices[:, :3], 0), _whole(matrices[:, 3:], 1)
    (columns, dx), (rows, dy) = _neighbours(at_x, width), _neighbours(at_y, height)
    flat = pixels.flatten(2)

    def corner(row: int, column: int) -> Tensor:
        index = (rows[row] * width + columns[column]).flatten(1).unsqueeze(1)
        return flat.gather(2, index.expand(-1, flat.shape[1], -1)).unflatten(2, size)

    lines = [
        corner(row, 0) if whole_x else _between(corner(row, 0).to(exact), corner(row, 1).to(exact), dx)
        for row in ((0,) if whole_y else (0, 1))
    ]
    values = lines[0] if whole_y else _between(lines[0].to(exact), lines[1].to(exact), dy)
    return values.to(torch.uint8) * inside.unsqueeze(1)


def _neighbours(at: Tensor, length: int) -> tuple[list[Tensor], Tensor]:
    """The two pixels around each coordinate, clamped to the image, and the share of the second one."""
    shifted = at - 0.5
    first = shifted.floor()
    return [(first + i).clamp(0, length - 1).long() for i in (0, 1)], (shifted - first).unsqueeze(1)


def _whole(rows: Tensor, axis: int) -> bool:
    """Whether a coordinate moves by whole pixels only, in every image."""
    return bool((rows[:, axis] == 1).all() and (rows[:, 1 - axis] == 0).all() and (rows[:, 2] % 1 == 0).all())


def _between(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return second.sub_(first).mul_(share).add_(first)


def _by_rotation(pixels: Tensor, operators: Tensor, magnitudes: Tensor, signed: Tensor, canvas: int) -> Tensor:
    height, width = pixels.shape[2:]
    angle = -(magnitudes * 30 / 10).trunc() * signed * (math.pi / 180)
    cos, sin = (t.mul(1e15).round().div(1e15) for t in (angle.cos(), angle.sin()))  # Pillow rounds to 15 digits
    x, y = width / 2, height / 2
    matrices = torch.stack([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y], dim=1)
    return warp(pixels, matrices, (height, width))


def _by_shear_or_translation(
    pixels: Tensor, operators: Tensor, magnitudes: Tensor, signed: Tensor, canvas: int
) -> Tensor:
    matrices = torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=torch.float64).repeat(len(operators), 1)
    shear = magnitudes * 0.3 / 10 * signed
    translation = (magnitudes * (canvas / 3) / 10).trunc() * signed
    for name, column, amount in (
        ("shear_x", 1, shear),
        ("shear_y", 3, shear),
        ("translate_x", 2, translation),
        ("translate_y", 5, translation),
    ):
        matrices[:, column] += torch.where(operators == OPERATORS.index(name), amount, 0.0)
    return warp(pixels, matrices, (canvas, canvas))


def _by_blending(pixels: Tensor, operators: Tensor, magnitudes: Tensor, signed: Tensor, canvas: int) -> Tensor:
    """D + factor (image - D), D being the image in grey, or smoothed."""
    grey = send(operators == OPERATORS.index("color"), pixels.device)[:, None, None, None]
    degenerate = torch.where(grey, luma(pixels), _smooth(pixels))
    return _blend(degenerate, pixels, send(_factor(magnitudes), pixels.device)[:, None, None, None])


def luma(pixels: Pixels) -> UInt8[Tensor, "batch 1 height width"]:
    """Grey images in Pillow's integers."""
    red, green, blue = pixels.to(torch.int32).unbind(dim=1)
    return ((LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + 32768) >> 16).to(torch.uint8).unsqueeze(1)


def _smooth(pixels: Tensor) -> Tensor:
    """(1 1 1; 1 5 1; 1 1 1) / 13, rounded; the outermost pixels as they are."""
    smooth = pixels.clone()
    if min(pixels.shape[2:]) > 2:
        wide = pixels.to(torch.int16)
        across = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
        summed = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :] + 4 * wide[..., 1:-1, 1:-1]
        smooth[..., 1:-1, 1:-1] = torch.div(2 * summed + 13, 26, rounding_mode="floor").to(torch.uint8)
    return smooth


def _blend(degenerate: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    base = degenerate.float()
    return ((image.float() - base) * factor).add_(base).clamp_(0, 255).to(torch.uint8)


def _factor(magnitudes: Tensor) -> Tensor:
    return (magnitudes * 1.8 / 10 + 0.1).float()


def _by_table(pixels: Tensor, operators: Tensor, magnitudes: Tensor, signed: Tensor, canvas: int) -> Tensor:
    """Operators that map each grey level of a channel to another: one table for each image and channel, one look-up."""
    device, height, width = pixels.device, *pixels.shape[2:]
    ramp = torch.arange(256, device=device)
    tables = ramp.to(torch.uint8).repeat(len(pixels), 3, 1)  # (batch, 3, 256)
    for name in TABLES:
        rows = (operators == OPERATORS.index(name)).nonzero().squeeze(1)
        if not len(rows):
            continue
        u = magnitudes[rows]
        part = pixels.index_select(0, send(rows, device))
        if name == "posterize":
            bits = (4 - (u * 4 / 10).trunc()).clamp_min(0).long()
            table = ramp & send((0xFF << (8 - bits)) & 0xFF, device)[:, None, None]
        elif name == "solarize":
            threshold = send(256 - (u * 256 / 10).trunc(), device)[:, None, None]
            table = torch.where(ramp < threshold, ramp, 255 - ramp)
        elif name == "brightness":
            table = _blend(torch.zeros_like(ramp), ramp, send(_factor(u), device)[:, None, None])
        elif name == "contrast":
            summed = luma(part).sum(dim=(1, 2, 3))[:, None, None]
            mean = (2 * summed + height * width) // (2 * height * width)  # int(mean + 1/2)
            table = _blend(mean, ramp, send(_factor(u), device)[:, None, None])
        elif name == "autocontrast":
            table = _stretched(part, ramp)
        else:
            table = _equalized(part, ramp)
        tables[send(rows, device)] = table.to(torch.uint8).expand(-1, 3, -1)
    return tables.gather(2, pixels.flatten(2).long()).view_as(pixels)


def _stretched(pixels: Tensor, ramp: Tensor) -> Tensor:
    """Each channel's range drawn out to 0..255."""
    exact = torch.float32 if pixels.device.type == "mps" else torch.float64
    flat = pixels.flatten(2)
    low, high = (t.to(exact).unsqueeze(2) for t in (flat.amin(dim=2), flat.amax(dim=2)))
    scale = torch.full_like(low, 255.0) / (high - low).clamp_min(1)  # `255 / tensor` would multiply by a reciprocal
    stretched = (ramp * scale - low * scale).clamp(0, 255).long()
    return torch.where(high > low, stretched, ramp)


def _equalized(pixels: Tensor, ramp: Tensor) -> Tensor:
    """Each channel's grey levels moved so that they occur equally often, by Pillow's integer rule."""
    flat = pixels.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.int64, device=pixels.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    highest = counts.gather(2, flat.amax(dim=2, keepdim=True))  # of the highest level that occurs
    step = (flat.shape[2] - highest) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, table, ramp)


FAMILIES = (  # operators that are computed together
    (TABLES, _by_table),
    (("color", "sharpness"), _by_blending),
    (("rotate",), _by_rotation),
    (("shear_x",), _by_shear_or_translation),
    (("shear_y",), _by_shear_or_translation),
    (("translate_x", "translate_y"), _by_shear_or_translation),
)

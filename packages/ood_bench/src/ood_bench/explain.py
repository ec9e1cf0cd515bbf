"""`ood-detect explain`: a picture of an image, where it departs from training, and its nearest training images."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from ood_shared.calibrated import Calibrated, Verdict
from ood_shared.datasets.formats import scan_of
from ood_shared.datasets.pixels import Range
from ood_shared.errors import InputError, not_installed
from ood_shared.files import atomic_path
from ood_shared.notes import say
from ood_shared.output_files import of_backbone, output_file
from ood_shared.streaming.reading import Item, read_items
from ood_shared.streaming.words import pending_images

from ood_bench.detect import load
from ood_bench.fused_detector import FusedDetector

NEAREST = 4
TOP = 3.0  # departure at which the colours end


def explain_step(options: argparse.Namespace) -> None:
    """Write the picture, print the verdict."""
    calibrated = load(options.model, options.device, options.backbone)
    detector = calibrated.detector
    if not isinstance(detector, FusedDetector):
        raise InputError(
            f"{options.model} holds a {type(detector).__name__}, which has no map of places; expected a file of "
            "`ood-detect fit`. `score` works with it."
        )
    read = (options.model, options.image, *([options.images] if options.images is not None else []))
    output = output_file(options.output, "explained.png", read, runs=of_backbone(options.backbone))
    if output.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"--output {output}; expected a name that ends in .png, .pdf or .svg.")
    name, pixels = _one(options.image, calibrated.span)
    prepared = calibrated.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    verdict = calibrated.judge(prepared)
    if options.images is not None and len(detector.thumbnails):
        say([f"--images {options.images} has no effect: the file holds small copies of the images"])
    departure, nearest = detector.locate(prepared, NEAREST)
    pictures = [_picture(detector, int(at), options.images, calibrated.span) for at in nearest[0]]
    titles = [detector.names[int(at)] if detector.names else f"image {int(at)}" for at in nearest[0]]
    words = _words(calibrated, verdict)
    _draw(output, pixels, departure[0].numpy(), list(zip(titles, pictures, strict=True)), f"{name}\n{words}")
    print(f"{name}: {words}\nnearest: {', '.join(titles)}\n{output}")


def _one(word: str, span: Range | None) -> tuple[str, UInt8[np.ndarray, "h w c"]]:
    found: Iterator[Item[UInt8[np.ndarray, "h w c"]]]
    whole = scan_of(word)
    if whole != word and not Path(word).exists() and Path(whole).exists():  # a slice of a scan
        found = (
            item for item in read_items(pending_images([whole]), lambda pixels: pixels, span=span) if item.name == word
        )
    else:
        found = read_items(pending_images([word]), lambda pixels: pixels, span=span)
    items = list(islice(found, 2))
    if not items and scan_of(word) != word:
        raise InputError(f"{whole} has no slice or frame {word.rpartition('#')[2]}; they are numbered from 0.")
    if not items:
        raise InputError(f"{word} holds no image; name one.")
    if len(items) > 1:
        raise InputError(f"{word} holds more than one image; name one, such as {items[0].name}.")
    item = items[0]
    if item.pixels is None:
        raise InputError(item.problem)
    return item.name, item.pixels


def _words(calibrated: Calibrated, verdict: Verdict) -> str:
    decision = "OOD" if verdict.flagged[0] else "ID"
    taken = f", taken for {calibrated.classes[int(verdict.classes[0])]}" if len(calibrated.classes) > 1 else ""
    driver = f", driven by {verdict.drivers[0]}" if verdict.drivers else ""
    numbers = f"score {verdict.scores[0]:.3g}, p = {verdict.p[0]:.3g}"
    return f"{decision} at an alarm rate of {calibrated.alarm_rate:g}: {numbers}{taken}{driver}"


def _picture(
    detector: FusedDetector, at: int, folder: str | None, span: Range | None
) -> UInt8[np.ndarray, "h w c"] | None:
    """A fit image: from the file's small copies, or from the folder of the training images; None where neither is."""
    if len(detector.thumbnails):
        found: UInt8[np.ndarray, "h w c"] = detector.thumbnails[at].numpy()
        return found
    if folder is None or not detector.names:
        return None
    path = Path(folder) / detector.names[at]
    if not path.is_file() and not Path(scan_of(str(path))).is_file():
        raise InputError(
            f"--images {folder} has no {detector.names[at]}. Name the folder that the detector was fitted on."
        )
    pixels = _one(str(path), span)[1]
    prepared = detector.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    if at not in detector.locate(prepared, NEAREST)[1][0]:
        raise InputError(f"{path} is not the image that the detector was fitted on. Name the folder of those images.")
    return pixels


def _draw(
    output: Path,
    pixels: UInt8[np.ndarray, "h w c"],
    departure: Float[np.ndarray, "p p"],
    nearest: list[tuple[str, UInt8[np.ndarray, "h w c"] | None]],
    title: str,
) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise not_installed("`explain`", "matplotlib", "report") from None
    figure = Figure(figsize=(3 * (2 + len(nearest)), 3.9), layout="constrained")
    axes = figure.subplots(1, 2 + len(nearest))
    _show(axes[0], pixels, "the image")
    _show(axes[1], pixels, "where it departs from training\n(1: one place in 100 of ID images)")
    height, width = pixels.shape[:2]
    smooth = F.interpolate(torch.from_numpy(departure)[None, None], (height, width), mode="bilinear")[0, 0].numpy()
    shown = axes[1].imshow(
        smooth, cmap="inferno", vmin=0, vmax=TOP, alpha=np.clip(smooth / TOP, 0, 0.75), extent=(0, width, height, 0)
    )
    figure.colorbar(shown, ax=axes[1], shrink=0.7, extend="max")
    for axis, (name, picture) in zip(axes[2:], nearest, strict=True):
        short = name if len(name) <= 28 else "…" + name[-27:]
        if picture is None:
            axis.text(0.5, 0.5, "no picture kept:\n--images FOLDER", ha="center", va="center")
            axis.set_title(f"near: {short}", fontsize=8)
            axis.axis("off")
        else:
            _show(axis, picture, f"near: {short}")
    figure.suptitle(title, fontsize=9)
    with atomic_path(output) as temporary:
        figure.savefig(temporary, format=output.suffix[1:].lower(), dpi=120)


def _show(axis: "object", pixels: UInt8[np.ndarray, "h w c"], title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    height, width = pixels.shape[:2]
    grey = pixels.shape[2] == 1
    axis.imshow(
        pixels[..., 0] if grey else pixels,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=255,
        extent=(0, width, height, 0),
    )
    axis.set_title(title, fontsize=8)
    axis.axis("off")

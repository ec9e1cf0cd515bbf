"""A calibrated detector as one graph in a file that runs without this project: ONNX, or torch.export's.

    exported = export(model_file.load("model.ood", "cpu"), "model.onnx")

    session = onnxruntime.InferenceSession("model.onnx")
    score, p_value, flagged, number = session.run(None, {"images": pixels})      # uint8 (n, h, w, c)

Before a file takes its name, its graph scores images of several looks, and so does Python: another decision or class,
or another score by more than 1e-4 (relatively, above 1), and there is no file. Scores that agree to `Graph.tie` count
as equal in a graph, since sums round differently there.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ood_shared.calibrated import Calibrated
from ood_shared.errors import InputError, not_installed, unknown
from ood_shared.export_graph import INPUT, OUTPUTS, Decision, graph_of
from ood_shared.files import atomic_path
from ood_shared.output_files import of_backbone, output_file
from ood_shared.verbs import FORMATS

OPSET = 18  # the first that has all operations
TOLERANCE = 1e-4  # of a score, absolutely up to 1 and relatively above
NEEDED = ("onnx", "onnxscript", "onnxruntime")
MOST_SIDE = 4096  # pixels
CHECKED = 16  # images
CARD = "card.json"
Run = Callable[[UInt8[np.ndarray, "n h w c"]], list[np.ndarray]]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        shape: height, width and channels of the images that it takes.
        difference: of its scores from Python's, at most.
    """

    shape: tuple[int, int, int]
    difference: float


def export(
    calibrated: Calibrated,
    path: str | Path,
    form: str = "onnx",
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Exported:
    """Write the graph, once it is seen to score as Python does.

    Args:
        calibrated: on the CPU.
        path: of the file.
        form: `onnx` or `torch`.
        size: height and width of the images that it will be given, pixels; those of the detector when None.
        channels: of these images, 1 or 3; those of the detector when None.

    Raises:
        InputError: an unknown form, a missing library, a detector that has no graph, or one that scores otherwise.
    """
    if form not in FORMATS:
        raise unknown("--format", form, FORMATS)
    graph = graph_of(calibrated)
    height, width = size or graph.size
    channels = graph.channels if channels is None else channels
    if not (0 < min(height, width) <= max(height, width) <= MOST_SIDE) or channels not in (1, 3):
        raise InputError(
            f"Images of {height} x {width} pixels with {channels} channels; expected sides from 1 to {MOST_SIDE}, and "
            "1 or 3 channels."
        )
    lacking = next((name for name in NEEDED if form == "onnx" and find_spec(name) is None), None)
    if lacking is not None:
        raise not_installed("ONNX", lacking, "onnx")
    shape = (height, width, channels)
    with _quiet(), torch.no_grad():
        program = _traced(Decision(calibrated, graph), (3, *shape))
        with atomic_path(Path(path)) as temporary:
            run = _FORMS[form](program, temporary, card_of(calibrated, shape))
            return Exported(shape, _compared(calibrated, run, looks(*shape)))


def export_step(calibrated: Calibrated, options: argparse.Namespace) -> None:
    """Write the file that the flags of `verbs.export_parser` ask for, and say what it is."""
    output = output_file(
        options.output, "model.onnx", (options.model,), runs=of_backbone(getattr(options, "backbone", None))
    )
    other = {"torch": ".onnx", "onnx": ".pt2"}[options.format]
    if output.suffix.lower() == other:
        raise InputError(f"--format {options.format}: {output} ends in {other}, as files of another kind. Rename it.")
    size = None if options.size is None else tuple(options.size)
    exported = export(calibrated, output, options.format, size, options.channels)
    taken, given = ", ".join(map(str, exported.shape)), ", ".join(OUTPUTS)
    print(f"{output}: takes `{INPUT}`, uint8 (n, {taken}); gives {given}.")
    print(f"On {CHECKED} made-up images it decides as Python does, and scores within {exported.difference:.1g} of it.")


def card_of(calibrated: Calibrated, shape: tuple[int, int, int]) -> dict[str, str]:
    """What the file says of itself; words, and JSON where they are several."""
    values = [limit.value for limit in calibrated.limits]
    return {
        "promise": calibrated.words(),
        "classes": json.dumps(list(calibrated.classes), ensure_ascii=False),
        "thresholds": json.dumps(values),
        "alarm_rate": str(calibrated.alarm_rate),
        "images": json.dumps(["n", *shape]),
        "about": json.dumps(dict(calibrated.about), ensure_ascii=False),
    }


def looks(height: int, width: int, channels: int) -> UInt8[np.ndarray, "n h w c"]:
    """Images of several looks: noise, coarse patches, ramps, nearly flat ones. Always the same."""
    generator = np.random.default_rng(0)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][:, :, :, None]
    images = []
    for at in range(CHECKED):
        low, high = sorted(generator.uniform(0, 255, 2))
        noise = generator.uniform(0, 1, (height, width, channels))
        side = 2 ** generator.integers(1, 4)
        patches = np.kron(
            generator.uniform(0, 1, (side, side, channels)), np.ones((-(-height // side), -(-width // side), 1))
        )
        ramp = np.repeat(generator.uniform() * down + generator.uniform() * across, channels, axis=2) / 2
        look = (noise, patches[:height, :width], ramp, 0.5 + 0.02 * noise)[at % 4]
        images.append(low + (high - low) * look)
    return np.stack(images).round().astype(np.uint8)


def _traced(whole: Decision, shape: tuple[int, int, int, int]) -> torch.export.ExportedProgram:
    example = torch.zeros(shape, dtype=torch.uint8)
    free = ({0: torch.export.Dim("n", min=1)},)
    try:
        return torch.export.export(whole.eval(), (example,), dynamic_shapes=free, strict=False)
    except InputError:
        raise
    except Exception as error:  # of whatever the tracing meets in a detector's own code
        reason = " ".join(str(error).split())[:200]
        name = type(whole.calibrated.detector).__name__
        raise InputError(f"This {name} cannot be exported: torch.export cannot trace it ({reason}).") from error


def _as_onnx(program: torch.export.ExportedProgram, path: Path, card: dict[str, str]) -> Run:
    import onnxruntime

    names: dict[str, Any] = {"input_names": [INPUT], "output_names": list(OUTPUTS)}
    try:
        made: Any = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, external_data=False, verbose=False, **names
        )
    except Exception as error:  # of torch.onnx, which knows no common class
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"The detector cannot be written as ONNX ({reason}). Take --format torch.") from error
    made.model.metadata_props.update(card)
    made.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: [np.asarray(part) for part in session.run(list(OUTPUTS), {INPUT: images})]


def _as_torch(program: torch.export.ExportedProgram, path: Path, card: dict[str, str]) -> Run:
    with path.open("wb") as file:  # a name would have to end in .pt2
        torch.export.save(program, file, extra_files={CARD: json.dumps(card, indent=2, ensure_ascii=False)})
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda images: [part.numpy() for part in module(torch.from_numpy(images))]


def _compared(calibrated: Calibrated, run: Run, images: UInt8[np.ndarray, "n h w c"]) -> float:
    """The largest difference of scores, once decisions and classes agree."""
    verdict = calibrated.judge(calibrated.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    alone, together = run(images[:1]), run(images)
    scores, _, flagged, classes = together
    differences = _apart(scores, verdict.scores)
    worst = max(float(differences.max()), float(_apart(alone[0], verdict.scores[:1]).max()))
    others = int((flagged != verdict.flagged).sum() + (classes != verdict.classes).sum())
    if others or not worst <= TOLERANCE:
        raise InputError(
            f"The graph scores {len(images)} images up to {worst:.2g} from Python, at most {TOLERANCE:g} is accepted; "
            f"{others} decisions or classes are others. No file was written; please report this detector."
        )
    return worst


def _apart(found: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.abs(found - true) / np.maximum(1, np.abs(true)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch.export and torch.onnx say of themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


_FORMS: dict[str, Callable[[torch.export.ExportedProgram, Path, dict[str, str]], Run]] = {
    "onnx": _as_onnx,
    "torch": _as_torch,
}

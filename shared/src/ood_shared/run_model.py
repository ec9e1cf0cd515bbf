"""`model.ood` of a run: the trained detector, calibrated on the ID test images.

All training images were trained on, and the ID test images served for nothing but the measurement, so that their scores
are those of new ID images: what a conformal threshold needs. The OOD sets are not looked at.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from ood_shared import files, model_file
from ood_shared.calibrated import Calibrated, calibrate
from ood_shared.contract import ALARM_RATE, MODEL, Request
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector_state import Savable
from ood_shared.errors import InputError
from ood_shared.results.schema import FACTS, RESULT, ScoreArrays
from ood_shared.thresholds import least_calibration

__all__ = ["MODEL", "about_run", "id_scores", "keep_bench", "write_model"]


def write_model(
    folder: Path,
    detector: Any,
    arrays: ScoreArrays,
    request: Request,
    benchmark: Benchmark,
    about: Mapping[str, Any],
) -> None:
    """Write the detector of a run beside its scores, or a line that says why there is none.

    Args:
        folder: of the run; a file of an earlier run there is removed first.
        detector: that was scored. One with a threshold of its own (`Calibrated`) keeps it.
        arrays: of its `scores.npz`.
        request: of the run.
        benchmark: of the run.
        about: method and paper.
    """
    path = folder / MODEL
    path.unlink(missing_ok=True)
    own: Any = detector.detector if isinstance(detector, Calibrated) else detector
    if not isinstance(own, Savable) or not hasattr(own, "prepare"):
        print(f"no {MODEL}: a {type(own).__name__} has no state() and prepare() to be kept by.")
        return
    if isinstance(detector, Calibrated):
        model_file.save(path, detector)
        return
    scores, taken = id_scores(arrays)
    if len(scores) < least_calibration(ALARM_RATE):
        least = least_calibration(ALARM_RATE)
        print(f"no {MODEL}: {len(scores)} ID test images; an alarm rate of {ALARM_RATE} needs {least}.")
        return
    made_from = about_run(request, benchmark) | dict(about)
    made_from["calibrated_on"] = f"{len(scores)} ID test images, which nothing was trained or chosen on"
    judged: Any = own
    calibrated = calibrate(judged, scores, taken, alarm_rate=ALARM_RATE, about=made_from)
    model_file.save(path, calibrated)


def keep_bench(folder: Path, program: str, flag: str) -> None:
    """Refuse to train or test in the folder of a bench, whose results belong to the weights that lie there.

    Args:
        folder: to write to.
        program: that would write there, such as `imood`.
        flag: that names another folder.

    Raises:
        InputError: the folder is that of a bench.
    """
    kept = (folder / MODEL).is_file()
    if kept or _holds_bench(folder):
        use = f"; to score images of your own with this detector: {program} score {folder / MODEL} IMAGES --csv out.csv"
        raise InputError(
            f"{folder} holds the results of a bench, which this command would replace. Name another folder by {flag}"
            f"{use if kept else '.'}"
        )


def _holds_bench(folder: Path) -> bool:
    """Whether a result there is that of a bench; with few ID test images it has no `model.ood` beside it."""
    try:
        record = files.read_json(folder / RESULT)
    except InputError:  # absent, or damaged
        return False
    config = record.get("config") if isinstance(record, dict) else None
    return isinstance(config, dict) and config.keys() >= set(FACTS)


def id_scores(arrays: ScoreArrays) -> tuple[Float[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Scores of the ID test images, and the classes that they were taken for."""
    of_id = arrays["dataset"] == 0
    return arrays["scores"][of_id].astype(np.float64), arrays["predictions"][of_id].astype(np.int64)


def about_run(request: Request, benchmark: Benchmark) -> dict[str, Any]:
    """What a detector was trained on, for its card. No path: only the last part of a folder of one's own is said."""
    facts = asdict(request)
    kept = ("budget", "backbone", "seed", "novel_classes")
    id_name = Path(request.id).name
    span = {} if request.span is None else {"value_range": list(request.span)}
    return span | {"id": id_name, "licence": benchmark.licence or None, **{name: facts[name] for name in kept}}

"""`result.json`, `scores.npz` and the report of a detection run, in the shared convention: higher = more OOD.

Beside the shared entries `result.json` holds the original's five metrics of each set under `legacy`, the row of the
novel classes, and the means over the rows of modality shift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ood_shared.metrics import NAMES as SHARED_NAMES
from ood_shared.results.page import write_page
from ood_shared.results.record import make_result, pack_scores, write_result
from ood_shared.sections import Table

from know_your_space.data.ood_sets import OodSet
from know_your_space.data.parts import Part
from know_your_space.legacy_metrics import NAMES as LEGACY_NAMES
from know_your_space.legacy_metrics import legacy_metrics
from know_your_space.settings import DetectSettings
from know_your_space.validation import balanced_accuracy

METHOD = "know_your_space"
PAPER = (
    "Narayanaswamy et al., Know Your Space: Inlier and Outlier Construction for Calibrating Medical OOD Detectors, "
    "MIDL 2023"
)


@dataclass(frozen=True)
class Scored:
    """What one pass over a set gives.

    Attributes:
        confidences: float32 (n,), higher = more ID.
        predictions: int64 (n,), class codes.
        seconds: that the pass took.
    """

    confidences: npt.NDArray[np.float32]
    predictions: npt.NDArray[np.int64]
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """A detection run.

    Attributes:
        id_part: the ID images that were scored.
        id_scored: their scores.
        results: those of each OOD set.
        absent: OOD sets that could not be scored, with the reason.
        checkpoint: file of the network.
        epochs: that it was trained for, when the file says so.
    """

    id_part: Part
    id_scored: Scored
    results: Mapping[OodSet, Scored]
    absent: Mapping[OodSet, str]
    checkpoint: Path
    epochs: int | None

    @property
    def seconds_per_1000(self) -> float:
        """Seconds of scoring 1000 images."""
        passes = (self.id_scored, *self.results.values())
        return 1000 * sum(one.seconds for one in passes) / sum(len(one.confidences) for one in passes)


def write_outcome(folder: Path, outcome: Outcome, settings: DetectSettings, device: torch.device) -> None:
    """Write `result.json`, `scores.npz` and `report.html` into the folder."""
    arrays = score_arrays(
        outcome.id_part.name,
        outcome.id_scored,
        outcome.id_part.labels,
        {ood.name: found for ood, found in outcome.results.items()},
    )
    config = {**settings.record, "checkpoint_file": str(outcome.checkpoint), "trained_epochs": outcome.epochs}
    record = make_result(
        arrays,
        method=METHOD,
        paper=PAPER,
        seed=settings.seed,
        budget="full",
        config=config,
        timings={"score_seconds_per_1000": outcome.seconds_per_1000},
        device=device,
        checkpoint=outcome.checkpoint,
    )
    record |= detection_entries(outcome, record["metrics"])
    write_result(folder, record, arrays)
    command = f"ood_detection.py --in_dataset {settings.in_dataset} --dir_name {settings.run}"
    title = f"Out-of-distribution detection on {outcome.id_part.name}"
    write_page(folder, record, arrays, title, command, [legacy_table(record["legacy"])])


def score_arrays(
    id_name: str, id_scored: Scored, id_labels: torch.Tensor, ood: Mapping[str, Scored]
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of `scores.npz`; scores float32, higher = more OOD.

    Args:
        id_name: of the ID set.
        id_scored: scores of the ID set.
        id_labels: int64 (n,), class codes.
        ood: scores of the OOD sets by name.
    """
    others = {name: (-found.confidences, found.predictions) for name, found in ood.items()}
    return pack_scores(id_name, (-id_scored.confidences, id_labels, id_scored.predictions), others)


def detection_entries(outcome: Outcome, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The entries of `result.json` that only this package has."""
    id_confidences = outcome.id_scored.confidences
    legacy = {ood.name: legacy_metrics(id_confidences, found.confidences) for ood, found in outcome.results.items()}
    novel = [ood.name for ood in outcome.results if ood.novel]
    shifts = [ood.name for ood in outcome.results if not ood.novel]
    predicted = torch.from_numpy(outcome.id_scored.predictions)
    return {
        "legacy": {name: {key: found[key] + 0.0 for key in LEGACY_NAMES} for name, found in legacy.items()},
        "novel_classes": novel[0] if novel else None,
        "modality_shift_mean": {
            "datasets": shifts,
            **{key: float(np.mean([metrics[name][key]["value"] for name in shifts])) for key in SHARED_NAMES},
            "legacy": {key: float(np.mean([legacy[name][key] for name in shifts])) for key in LEGACY_NAMES},
        }
        if shifts
        else None,
        "id_balanced_accuracy": balanced_accuracy(predicted, outcome.id_part.labels),
        "id_part": outcome.id_part.source,
        "missing": {ood.name: reason for ood, reason in outcome.absent.items()},
    }


def legacy_table(legacy: Mapping[str, Mapping[str, float]]) -> Table:
    """The original's metrics, as it prints them."""
    return Table(
        "Metrics of the original",
        ["OOD set", *LEGACY_NAMES],
        [[name, *(f"{100 * found[key]:.2f}" for key in LEGACY_NAMES)] for name, found in legacy.items()],
        note=(
            "In %, ID positive, as the paper's program defines them: ties count against the detector, FPR where the "
            "TPR is nearest to 95 %, DTERR the least mean of both error rates. The other tables have the "
            "corrected metrics."
        ),
    )

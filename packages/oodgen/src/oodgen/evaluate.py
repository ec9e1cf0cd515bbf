"""Step 4, test.py: one pass per set, then every score and metric from the logits.

`auroc.log` keeps the documented line. Beside it stand `result.json`, `scores.npz`, two pictures and `report.html`, in
the shared convention: higher = more OOD.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ood_shared.devices import seed_everything
from ood_shared.errors import MissingFileError
from ood_shared.results.page import write_page
from ood_shared.results.record import make_result, write_result
from ood_shared.training import Compute
from torch import Tensor

from oodgen import checkpoints, configuration
from oodgen.configuration import Trained
from oodgen.data.folders import Pixels, read_generated, read_id
from oodgen.data.outlier_sets import OutlierSet, load_outlier_set
from oodgen.defaults import normalisation
from oodgen.published_metrics import auroc
from oodgen.run_files import write_log
from oodgen.scores import METHOD, PAPER, logits_of, score_arrays
from oodgen.settings import TestSettings

GENERATED = "generated"
HELD_OUT = "held_out"
PRINTED = ("auroc", "fpr95_id_positive", "fpr80_id_positive", "detection_error", "aupr_in", "aupr_out")
HEADINGS = ("AUROC", "FPR95", "FPR80", "det. error", "AUPR in", "AUPR out")


def test(settings: TestSettings, trained: Trained, folder: Path, compute: Compute, seed: int | None) -> None:
    """Test the classifier on `<in_data>/test` against generated and real outliers; prints and writes everything.

    Args:
        settings: what is tested on what.
        trained: what the classifier was built for.
        folder: of the classifier.
        compute: how it runs.
        seed: of noise and shuffling; None draws one.
    """
    file, last = checkpoints.model_file(folder, settings.epoch, default=200)
    seed = seed_everything(seed)
    generator = torch.Generator().manual_seed(seed)

    train, test, held_out = read_id(settings.in_data, settings.classes)
    configuration.check_classes(train.classes, trained, settings.in_data)
    sets = (settings.data_dir, settings.native)
    real = [load_outlier_set(name, train.images, generator, *sets) for name in settings.out_data]
    if held_out is not None:
        real.append(OutlierSet(HELD_OUT, held_out.images))
    generated = OutlierSet(GENERATED, read_generated(settings.in_data, "test", model_path=settings.model_path))

    rows: list[tuple[Any, ...]] = []
    for epoch in _epochs(folder, last, settings.all_epochs):
        path = folder / f"model_{epoch}.pth" if settings.all_epochs else file
        started = time.perf_counter()
        logits = _all_logits(path, trained, test, [generated, *real], settings, compute)
        seconds = time.perf_counter() - started
        kind = settings.scores[0]
        areas = [auroc(logits[0], part, kind, settings.average, generator) for part in logits[1:]]
        for outliers, area in zip(real, areas[1:], strict=True):
            rows.append((settings.in_data, epoch, "==> gen_ood : ", areas[0], outliers.name, ": ", area))
        print(f"epoch {epoch}: AUROC {GENERATED} {areas[0]:.4f}" + _listed(real, areas[1:]), flush=True)

    write_log(settings.root / "auroc.log", rows)
    parts = dict(zip([GENERATED, *(outliers.name for outliers in real)], logits[1:], strict=True))
    for number, kind in enumerate(settings.scores):
        arrays = score_arrays(settings.in_data, logits[0], test.labels, parts, kind)
        result = make_result(
            arrays,
            method=METHOD,
            paper=PAPER,
            seed=seed,
            budget="full",
            config={**settings.record, "score": kind, "model_file": path.name, "model_epoch_used": epoch},
            timings={"score_seconds_per_1000": 1000 * seconds / len(arrays["scores"])},
            device=compute.device,
            checkpoint=path,
        )
        print(_table(kind, result["metrics"]))
        target = settings.root if number == 0 else settings.root / f"score_{kind}"
        write_result(target, result, arrays)
        title, command = f"Out-of-distribution detection on {settings.in_data}", f"test.py --in_data {settings.in_data}"
        write_page(target, result, arrays, title, command)
    print(f"results in {settings.root}")


def _epochs(folder: Path, last: int, every: bool) -> list[int]:
    if not every:
        return [last]
    epochs = [epoch for epoch in checkpoints.saved_epochs(folder) if epoch <= last]
    if not epochs:
        raise MissingFileError(f"{folder} has no model_<epoch>.pth up to epoch {last}; --all_epochs needs them.")
    return epochs


def _all_logits(
    path: Path,
    trained: Trained,
    test: Pixels,
    outliers: Sequence[OutlierSet],
    settings: TestSettings,
    compute: Compute,
) -> list[Tensor]:
    """Logits of the ID test images, then of each outlier set."""
    network = checkpoints.load_classifier(path, trained).to(compute.device)
    own = normalisation(settings.normalize, settings.in_data) if settings.normalize else trained.normalize
    logits = [logits_of(network, test.images, *own, compute.precision)]
    for part in outliers:
        foreign = settings.foreign and part.name not in {GENERATED, HELD_OUT}
        scale = normalisation("auto", part.name) if foreign else own
        logits.append(logits_of(network, part.images, *scale, compute.precision))
    return logits


def _listed(real: Sequence[OutlierSet], areas: Sequence[float]) -> str:
    return "".join(f"  {part.name} {area:.4f}" for part, area in zip(real, areas, strict=True))


def _table(score: str, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    width = max(len(name) for name in metrics)
    lines = [f"score {score}; FPR at 95 % and 80 % of ID accepted", " " * width + "".join(f"{h:>12}" for h in HEADINGS)]
    for name, cells in metrics.items():
        lines.append(f"{name:<{width}}" + "".join(f"{cells[key]['value']:>12.4f}" for key in PRINTED))
    return "\n".join(lines)

"""Step 4, test.py: one pass per set, then every score and metric from the logits.

`auroc.log` keeps the documented line. Beside it stand `result.json`, `scores.npz`, two pictures and `report.html`, in
the shared convention: higher = more OOD.
"""

import argparse
import time
from pathlib import Path

import torch
from ood_shared.datasets import EMBEDDED_OOD, NOISE
from ood_shared.devices import seed_everything
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.page import write_page
from ood_shared.results.record import make_result, write_result
from torch import Tensor

from oodgen import checkpoints as conf
from oodgen import defaults
from oodgen.commands import compute_of, result_root
from oodgen.data.folders import Pixels, read_generated, read_id
from oodgen.results import METHOD, PAPER, score_arrays
from oodgen.run_files import write_log
from oodgen.scoring import OutlierSet, auroc, logits_of, outlier_set
from oodgen.train import Compute

DIGITS_SIDE = 8  # pixels of the embedded digits before they were enlarged
GENERATED = "generated"
HELD_OUT = "held_out"
PRINTED = ("auroc", "fpr95_id_positive", "fpr80_id_positive", "detection_error", "aupr_in", "aupr_out")
HEADINGS = ("AUROC", "FPR95", "FPR80", "det. error", "AUPR in", "AUPR out")


def test_step(options: argparse.Namespace) -> None:
    """test.py: test the classifier on `<in_data>/test` against generated and real outliers."""
    compute = compute_of(options)
    embedded = options.in_data is None and not Path(defaults.DEFAULT_ID).is_dir()
    options.in_data = conf.id_folder(options.in_data, "--in_data")
    folder = conf.find_classifier_folder(options.model_path, options.in_data)
    trained = conf.read_configuration(folder, options.in_data)
    options.classes = conf.choose_classes(options.classes, trained, folder)
    both_scores = options.mode == "paper" and options.score is None
    options = defaults.settle(options, defaults.TEST, options.in_data)
    file, last = conf.model_file(folder, options.model_epoch, default=200)
    seed = seed_everything(options.seed)
    generator = torch.Generator().manual_seed(seed)

    train, test, held_out = read_id(options.in_data, options.classes)
    conf.check_classes(train.classes, trained, options.in_data)
    real = _real_sets(options, train, embedded, generator)
    if held_out is not None:
        real.append(OutlierSet(HELD_OUT, held_out.images))
    generated = OutlierSet(GENERATED, read_generated(options.in_data, "test", model_path=options.model_path))

    rows = []
    for epoch in _epochs(options, folder, last):
        path = folder / f"model_{epoch}.pth" if options.all_epochs else file
        started = time.perf_counter()
        logits = _all_logits(path, trained, test, [generated, *real], options, compute)
        seconds = time.perf_counter() - started
        areas = [auroc(logits[0], part, options.score, options.average, generator) for part in logits[1:]]
        for found, area in zip(real, areas[1:], strict=True):
            rows.append((options.in_data, epoch, "==> gen_ood : ", areas[0], found.name, ": ", area))
        print(f"epoch {epoch}: AUROC {GENERATED} {areas[0]:.4f}" + _listed(real, areas[1:]), flush=True)

    root = result_root(options.save_path, options)
    write_log(root / "auroc.log", rows)
    parts = dict(zip([GENERATED, *(found.name for found in real)], logits[1:], strict=True))
    for number, score in enumerate(["one_minus_ood", "max_in"] if both_scores else [options.score]):
        arrays = score_arrays(options.in_data, logits[0], test.labels, parts, score)
        result = make_result(
            arrays,
            method=METHOD,
            paper=PAPER,
            seed=seed,
            budget="full",
            config={**conf.recorded(options), "score": score, "model_file": path.name, "model_epoch_used": epoch},
            timings={"score_seconds_per_1000": 1000 * seconds / len(arrays["scores"])},
            device=compute.device,
            checkpoint=path,
        )
        print(_table(score, result["metrics"]))
        target = root if number == 0 else root / f"score_{score}"
        write_result(target, result, arrays)
        title, command = f"Out-of-distribution detection on {options.in_data}", f"test.py --in_data {options.in_data}"
        write_page(target, result, arrays, title, command)
    print(f"results in {root}")


def _real_sets(
    options: argparse.Namespace, train: Pixels, embedded: bool, generator: torch.Generator
) -> list[OutlierSet]:
    """The sets of `--out_data`; without it the documented folder, else the embedded sets and noise."""
    native = None
    if options.out_data is not None:
        names = _names(options.out_data)
        if not names:
            raise InputError("--out_data is empty. Pass a folder, or known names separated by commas.")
    elif Path(defaults.DEFAULT_OOD).is_dir():
        names = [defaults.DEFAULT_OOD]
    elif embedded:
        names, native = [*EMBEDDED_OOD, *NOISE], (DIGITS_SIDE, DIGITS_SIDE)
        print(f"No --out_data given and no {defaults.DEFAULT_OOD}: using the embedded sets and noise.")
    else:
        raise MissingFileError(
            f"Outlier folder {defaults.DEFAULT_OOD} is missing. Pass --out_data with a folder, or names such as "
            f"{', '.join(NOISE)}."
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--out_data names {twice[0]} more than once. Name each set once.")
    taken = [name for name in names if name in (GENERATED, HELD_OUT)]
    if taken:
        raise InputError(f"--out_data {taken[0]}: the results have a set of that name. Pass ./{taken[0]} for a folder.")
    return [outlier_set(name, train.images, generator, options.data_dir, native) for name in names]


def _names(given: str) -> list[str]:
    """The sets of `--out_data`: one folder, which may have commas in its name, or names separated by commas."""
    return [given] if given and Path(given).exists() else [name.strip() for name in given.split(",") if name.strip()]


def _epochs(options: argparse.Namespace, folder: Path, last: int) -> list[int]:
    if not options.all_epochs:
        return [last]
    epochs = [epoch for epoch in conf.saved_epochs(folder) if epoch <= last]
    if not epochs:
        raise MissingFileError(f"{folder} has no model_<epoch>.pth up to epoch {last}; --all_epochs needs them.")
    return epochs


def _all_logits(
    path: Path,
    trained: conf.Trained,
    test: Pixels,
    outliers: list[OutlierSet],
    options: argparse.Namespace,
    compute: Compute,
) -> list[Tensor]:
    """Logits of the ID test images, then of each outlier set."""
    network = conf.load_classifier(path, trained).to(compute.device)
    given = defaults.normalisation(options.normalize, options.in_data) if options.normalize else trained.normalize
    logits = [logits_of(network, test.images, *given, compute.precision)]
    for found in outliers:
        foreign = options.mode == "compat" and options.normalize is None and found.name not in {GENERATED, HELD_OUT}
        scale = defaults.normalisation("auto", found.name) if foreign else given
        logits.append(logits_of(network, found.images, *scale, compute.precision))
    return logits


def _listed(real: list[OutlierSet], areas: list[float]) -> str:
    return "".join(f"  {found.name} {area:.4f}" for found, area in zip(real, areas, strict=True))


def _table(score: str, metrics: dict[str, dict]) -> str:
    width = max(len(name) for name in metrics)
    lines = [f"score {score}; FPR at 95 % and 80 % of ID accepted", " " * width + "".join(f"{h:>12}" for h in HEADINGS)]
    for name, cells in metrics.items():
        lines.append(f"{name:<{width}}" + "".join(f"{cells[key]['value']:>12.4f}" for key in PRINTED))
    return "\n".join(lines)

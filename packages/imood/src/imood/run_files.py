"""Logs and tables of the published code, and `result.json` and `scores.npz` in the shared convention beside them."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ood_shared import runs
from ood_shared.devices import peak_memory
from ood_shared.files import read_text, write_text
from ood_shared.results.record import measure, write_result
from torch import Tensor
from torch import device as Device

from imood.figures import write_pictures
from imood.losses import Losses
from imood.passes import Validation
from imood.scored import Scored, SetResult, Summary, arrays_of, group_auroc, predicted_groups

TRAIN_LOG, VAL_LOG = "train_log.txt", "val_log.txt"
_POSITION = re.compile(r" epoch (\d+)(?: batch (\d+))? ")  # of a line in either

METHOD = "imood"
PAPER = "Liu et al., Rethinking Out-of-Distribution Detection on Imbalanced Data Distribution, NeurIPS 2024"


def write_arguments(folder: Path, given: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """`args.yaml`: all arguments in the order of their declaration, and the folder; `code_version.txt`.

    Args:
        folder: of the run; made when missing.
        given: the arguments by name.
        resolved: settings, whose values replace those of the same name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settled = {name: value for name, value in resolved.items() if name in given}
    text = yaml.safe_dump({**given, **settled, "save_dir": str(folder)}, sort_keys=False)
    write_text(folder / "args.yaml", text)
    versions = runs.versions()
    write_text(folder / "code_version.txt", "".join(f"{name} {value}\n" for name, value in versions.items()))


def log_step(folder: Path, epoch: int, step: int, loss: Tensor, parts: Losses, rates: Sequence[float]) -> None:
    """`11/20/26 16:01:02 epoch 3 batch 100 (train): loss total (in, ood, aux) | lr [0.001]`, parts unweighted."""
    three = ", ".join(f"{part.item():.4f}" for part in parts)
    _log(folder / TRAIN_LOG, f"epoch {epoch} batch {step} (train): loss {loss.item():.4f} ({three}) | lr {list(rates)}")


def log_epoch(folder: Path, epoch: int, validation: Validation, seconds: float) -> None:
    """`… epoch 3 (test): ACC overall (many, median, low) | F1 … | time seconds`."""
    groups = ", ".join(f"{value:.4f}" for value in validation.groups)
    _log(
        folder / VAL_LOG,
        f"epoch {epoch} (test): ACC {validation.accuracy:.4f} ({groups}) | F1 {validation.f1:.4f} | time {seconds:.1f}",
    )


def cut_logs(folder: Path, epoch: int, step: int) -> None:
    """Take from the ends of both logs what a run that goes on will write again.

    Args:
        folder: of the run.
        epoch: that the run goes on in, counted from 0.
        step: that it goes on with.
    """
    for name, first in ((TRAIN_LOG, step), (VAL_LOG, 0)):
        path = folder / name
        if not path.is_file():
            continue
        lines = read_text(path, "the log of a run").splitlines(keepends=True)
        kept = list(lines)
        while kept and _comes_again(kept[-1], epoch, first):
            kept.pop()
        if len(kept) < len(lines):
            write_text(path, "".join(kept))


def _comes_again(line: str, epoch: int, step: int) -> bool:
    """Whether a line is of a step from then on, or was cut short."""
    found = _POSITION.search(line)
    if not line.endswith("\n"):
        return True
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (epoch, step)


def res_txt(summary: Summary, layout: str) -> str:
    """Text of `res.txt`: a block for the accuracy, for each set, and for their mean where there are several sets."""
    text = f"\n===ID Accuracy===\n{_accuracies(summary)}\n"
    rows = {name: (result.auroc, result.aupr, result.fpr95) for name, result in summary.sets.items()}
    if layout != "single":
        rows["Total"] = summary.mean("auroc"), summary.mean("aupr"), summary.mean("fpr95")
    for name, (auroc, aupr, fpr95) in rows.items():
        text += f"\n==={name}===\n{_line(auroc, aupr, fpr95)}\n"
    return text


def res_csv(summary: Summary) -> str:
    """Text of `res.csv`: accuracy, mean AUROC and FPR95 in percent, then the nine error counts.

    Each count is cut to a whole number for each set, then summed. A group without classes gives `nan`.
    """
    lines = [f"{100 * value:.2f}" for value in (summary.accuracy, summary.mean("auroc"), summary.mean("fpr95"))]
    for position in range(9):
        values = [result.errors[position] for result in summary.sets.values()]
        lines.append("nan" if any(map(math.isnan, values)) else str(sum(map(int, values))))
    return "\n".join(lines)


def table(summary: Summary, layout: str) -> str:
    """What is printed: the published lines (a set, the mean of several, the accuracy), with titles and ACC@… beside."""
    lines = []
    for name, result in summary.sets.items():
        lines += [f"==={name}===", _line(result.auroc, result.aupr, result.fpr95)]
    if layout != "single":
        total = _line(summary.mean("auroc"), summary.mean("aupr"), summary.mean("fpr95"))
        lines += ["Total:", f"OOD: {total}"]
    lines.append(_accuracies(summary))
    rates = {name: np.mean([result.rates[name] for result in summary.sets.values()]) for name in _first(summary).rates}
    lines.append("ACC@" + ", ".join(f"{name.removeprefix('acc_at_').upper()} {v:.4f}" for name, v in rates.items()))
    return "\n".join(lines)


def write_metric(
    folder: Path,
    summary: Summary,
    layout: str,
    id_name: str,
    id_test: Scored,
    outliers: Mapping[str, Scored],
    counts: Sequence[int],
    facts: Mapping[str, Any],
    device: Device,
    command: str | None = None,
) -> dict[str, Any]:
    """Write the four files of one metric, and return the record of `result.json`.

    Args:
        folder: made when missing.
        summary: of `summarise`.
        layout: see `tasks.Task`.
        id_name: name of the ID set.
        id_test: the ID test images.
        outliers: the outlier sets; images with a label from 0 on are left out of the shared metrics.
        counts: training images of each class.
        facts: the other entries of `result.json`: seed, budget, config, timings, checkpoint_sha256.
        device: of the run.
        command: the command line, for the page; None writes no pictures and no page.
    """
    arrays = arrays_of(id_name, id_test, outliers)
    shared, accuracy = measure(arrays, np.random.default_rng(int(facts["seed"])))
    versions = runs.versions()
    result = {
        "method": METHOD,
        "paper": PAPER,
        "id_dataset": id_name,
        "ood_datasets": list(outliers),
        "metrics": shared,
        "id_accuracy": accuracy,
        "peak_memory_bytes": peak_memory(device),
        "hardware": runs.hardware(device),
        "versions": versions,
        "commit": versions["commit"],
        **published_entries(summary, id_name, id_test, outliers, counts),
        **facts,
    }
    write_tables(folder, summary, layout)
    write_result(folder, result, arrays)
    if command is not None:
        write_pictures(folder, result, arrays, command)
    return result


def published_entries(
    summary: Summary, id_name: str, id_test: Scored, outliers: Mapping[str, Scored], counts: Sequence[int]
) -> dict[str, Any]:
    """What `result.json` has beyond the shared entries."""
    return {
        "published": _published(summary),
        "group_auroc": group_auroc(id_test, outliers, counts),
        "predicted_groups": predicted_groups(id_name, id_test, outliers, counts),
    }


def write_tables(folder: Path, summary: Summary, layout: str) -> None:
    """`res.txt` and `res.csv`."""
    write_text(folder / "res.txt", res_txt(summary, layout))
    write_text(folder / "res.csv", res_csv(summary))


def _published(summary: Summary) -> dict[str, Any]:
    """The numbers of `res.txt`, not rounded; `fpr95_nearest_recall` is its fpr95."""
    many, median, low = summary.groups
    sets = {
        name: {
            "auroc": result.auroc,
            "aupr_out": result.aupr,
            "aupr_in": result.aupr_in,
            "fpr95_nearest_recall": result.fpr95,
            "threshold": result.threshold,
            "error_counts": [_or_none(value) for value in result.errors],
            **{key: _or_none(value) for key, value in result.rates.items()},
        }
        for name, result in summary.sets.items()
    }
    return {
        "accuracy": summary.accuracy,
        "many": _or_none(many),
        "median": _or_none(median),
        "low": _or_none(low),
        "sets": sets,
        "mean": {
            "auroc": summary.mean("auroc"),
            "aupr_out": summary.mean("aupr"),
            "fpr95_nearest_recall": summary.mean("fpr95"),
        },
    }


def _line(auroc: float, aupr: float, fpr95: float) -> str:
    return f"auroc: {auroc:.4f}, aupr: {aupr:.4f}, fpr95: {fpr95:.4f}"


def _accuracies(summary: Summary) -> str:
    """Overall, and of the classes of many, median and low."""
    return f"ACC: {summary.accuracy:.4f} ({', '.join(f'{value:.4f}' for value in summary.groups)})"


def _first(summary: Summary) -> SetResult:
    return next(iter(summary.sets.values()))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else value


def _log(path: Path, text: str) -> None:
    line = f"{time.strftime('%m/%d/%y %H:%M:%S')} {text}"
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")

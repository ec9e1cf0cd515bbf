"""The leaderboards of the README and of `docs/leaderboards.md`, from what `ood-bench` leaves.

python benchmarks/tables.py --keep FOLDER results/mnist.json     # the numbers of a run, small enough to be kept
python benchmarks/tables.py results/mnist.json                   # its table in Markdown; --short without single sets
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from ood_bench.settings import LEADERBOARD, RESULTS
from ood_shared import files

USED = ("backbone", "parameters", "epochs", "extra_data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an --output-dir of ood-bench; FILE is written")
    parser.add_argument("--short", action="store_true", help="leave out the columns of single OOD sets")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.keep is not None:
        files.write_json(options.file, condensed(options.keep))
    print("\n".join(markdown(json.loads(options.file.read_text()), options.short)))


def condensed(folder: Path) -> dict[str, Any]:
    """Leaderboard, costs and circumstances of a run."""
    found = files.read_json(folder / RESULTS)
    records: dict[str, list[dict[str, Any]]] = {}
    for run in found["runs"]:
        for record in run["results"]:
            records.setdefault(record["method"], []).append(record)
    first = next(iter(records.values()))[0]
    return {
        "command_line": found["command_line"],
        "finished": found["finished"],
        "seconds": {f"{run['method']}, seed {run['seed']}": run["seconds"] for run in found["runs"]},
        "hardware": first["hardware"],
        "versions": first["versions"],
        "commit": first["commit"],
        "leaderboard": [
            {**entry, **_costs(records[entry["method"]])} for entry in files.read_json(folder / f"{LEADERBOARD}.json")
        ],
    }


def _costs(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a method: means over its seeds, the largest peak of memory, and what all seeds have in common."""
    accuracies = [record["id_accuracy"]["value"] for record in records if record["id_accuracy"] is not None]
    timings = {
        name: mean(values)
        for name in records[0]["timings"]
        if None not in (values := [record["timings"][name] for record in records])
    }
    return {
        "id_accuracy": mean(accuracies) if accuracies else None,
        "id_accuracies": accuracies,
        "timings": timings,
        "peak_memory_bytes": max(record["peak_memory_bytes"] for record in records),
        **{name: records[0]["config"].get(name) for name in USED},
    }


def markdown(kept: dict[str, Any], short: bool) -> list[str]:
    """A table: mean AUROC near, far and of all sets, the AUROC on each set, FPR95, accuracy, training time."""
    entries = kept["leaderboard"]
    groups = [group for group in ("near", "far") if any(group in entry["means"] for entry in entries)]
    groups = groups if len(groups) > 1 else []
    sets = [] if short else list(dict.fromkeys(name for entry in entries for name in entry["sets"]))
    heads = ["#", "method", "mean AUROC", *(f"{group} AUROC" for group in groups), *map(_short, sets)]
    heads += ["mean FPR95", "ID accuracy", "training"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for entry in entries:
        cells = [str(entry["place"]), entry["method"], _share(entry["means"]["all"]["auroc"])]
        cells += [_share(entry["means"][group]["auroc"]) if group in entry["means"] else "–" for group in groups]
        cells += [f"{100 * entry['sets'][name]['auroc']['value']:.1f}" for name in sets]
        accuracy = entry["id_accuracy"]
        cells += [_share(entry["means"]["all"]["fpr95"]), "–" if accuracy is None else f"{100 * accuracy:.1f}"]
        cells.append(f"{entry['timings']['train_seconds']:.0f} s")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _share(share: dict[str, float]) -> str:
    return f"{100 * share['value']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"


def _short(name: str) -> str:
    return Path(name).name.split(".")[0]


if __name__ == "__main__":
    main()

"""The fused detector beside the baselines, from the results of finished `ood-bench` runs: one JSON and two tables.

    python tools/fused_tables.py FOLDER… --output packages/ood_bench/results/fused.json

Each folder is the output of `ood-bench --methods fused,baselines --seeds 3`. Per comparison: AUROC of F, of every
baseline, of the baseline that is best over all comparisons, and of the best baseline on each set, chosen in hindsight
for every set and seed. `near` is the set `novel`, or the first OOD set where no class was kept out.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ood_bench.fused_bench import NAME
from ood_bench.operating import caught
from ood_shared.metrics import evaluate
from ood_shared.results.record import read_result
from ood_shared.results.schema import split_scores

Table = dict[str, dict[str, list[dict[str, float]]]]  # method, set -> one entry for each seed


def read(folder: Path) -> Table:
    """AUROC, FPR95 and the share caught of every method, set and seed."""
    table: Table = {}
    for file in sorted(folder.glob("*/seed-*/**/scores.npz")):
        record, arrays = read_result(file.parent)
        shares = caught([(record, arrays)])
        own, *outliers = split_scores(arrays)
        for name, found in zip(record["ood_datasets"], outliers, strict=True):
            values = evaluate(own, found)
            entry = {"auroc": values["auroc"], "fpr95": values["fpr95"], "caught": shares[name].mean}
            table.setdefault(record["method"], {}).setdefault(Path(name).name.split(".")[0], []).append(entry)
    return table


def summary(tables: dict[str, Table]) -> dict[str, Any]:
    """Everything that the tables say, as JSON values; AUROC in %."""
    baselines = [name for name in next(iter(tables.values())) if name != NAME]
    means = {m: float(np.mean([_mean(table, m) for table in tables.values()])) for m in baselines}
    best = max(means, key=lambda name: means[name])
    found: dict[str, Any] = {"best_fixed": best, "mean_of_baselines": means, "comparisons": {}}
    for name, table in tables.items():
        sets = list(table[NAME])
        near = "novel" if "novel" in sets else sets[0]
        rows = {}
        for own in sets:
            fused = _values(table, NAME, own)
            fixed = _values(table, best, own)
            rivals = np.array([_values(table, method, own) for method in baselines])
            rows[own] = {
                "fused": fused.tolist(),
                "best_fixed": fixed.tolist(),
                "hindsight": rivals.max(axis=0).tolist(),
                "hindsight_method": baselines[int(rivals.mean(axis=1).argmax())],
                "caught": [100 * entry["caught"] for entry in table[NAME][own]],
                "fpr95": [100 * entry["fpr95"] for entry in table[NAME][own]],
            }
        found["comparisons"][name] = {"near": near, "sets": rows}
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """Both tables, in Markdown."""
    best = found["best_fixed"]
    four = "mean | near | far | worst run"
    rows = [f"| comparison | fused: {four} | {best}: {four} | hindsight for each set |"]
    rows += ["|---" * 10 + "|"]
    for name, about in found["comparisons"].items():
        cells = []
        for what in ("fused", "best_fixed", "hindsight"):
            values = {own: np.array(row[what]) for own, row in about["sets"].items()}
            near = values[about["near"]].mean()
            far = np.mean([value.mean() for own, value in values.items() if own != about["near"]])
            runs = np.mean(list(values.values()), axis=0)
            cells += [runs.mean(), near, far, runs.min()] if what != "hindsight" else [runs.mean()]
        rows.append(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    rows += ["", "| comparison | set | fused [lowest, highest] | best baseline of the set, in hindsight | difference |"]
    rows += ["|---" * 5 + "|"]
    for name, about in found["comparisons"].items():
        for own, row in about["sets"].items():
            values, rival = np.array(row["fused"]), float(np.mean(row["hindsight"]))
            range_ = f"{values.mean():.1f} [{values.min():.1f}, {values.max():.1f}]"
            gain = values.mean() - rival
            rows.append(f"| {name} | {own} | {range_} | {rival:.1f} ({row['hindsight_method']}) | {gain:+.1f} |")
    return rows


def _values(table: Table, method: str, own: str) -> np.ndarray:
    return np.array([100 * entry["auroc"] for entry in table[method][own]])


def _mean(table: Table, method: str) -> float:
    return float(np.mean([_values(table, method, own).mean() for own in table[method]]))


def main() -> None:
    """Read, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = summary({folder.name: read(folder) for folder in options.folders})
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()

"""Print the README's tables from the JSON files of `compare.py` and `decoder_directions.py`.

python benchmarks/tables.py results/compare_*.json results/decoder_directions.json
"""

import sys
from pathlib import Path
from typing import Any

from ood_shared.files import read_json

METHODS = {
    "msp": "none = MSP",
    "energy": "energy",
    "knn": "kNN",
    "mahalanobis": "Mahalanobis",
    "vim": "ViM",
    "type1": "type 1, null space",
    "type1_rref": "type 1, the authors' directions",
    "type1_noise": "type 1, plain noise",
    "type2": "type 2",
    "both": "both, 1 - p_n",
    "both_max_in": "both, largest of the n",
    "both_rref": "both, the authors' directions, 1 - p_n",
    "both_rref_max_in": "both, the authors' directions, largest of the n",
}
SETS = {
    "novel": "novel 5–9",
    "mnist": "MNIST",
    "fmnist": "Fashion-MNIST",
    "gaussian": "Gaussian",
    "uniform": "uniform",
    "sphere": "sphere",
}
METRICS = ("auroc", "fpr95_id_positive")


def table(path: Path) -> str:
    """One row per method, one column per OOD set: AUROC, then FPR95, each as mean over the seeds and their range."""
    report = read_json(path)
    present = {entry["ood"] for entry in report["summary"]}
    sets = [name for name in SETS if name in present]
    cells = {(entry["arm"], entry["ood"]): entry for entry in report["summary"]}
    accuracies: dict[str, list[float]] = {}
    for row in report["rows"]:
        accuracies.setdefault(row["arm"], []).append(row["id_accuracy"])
    lines = ["| method | " + " | ".join(SETS[name] for name in sets) + " | ID accuracy |"]
    lines.append("|" + "---|" * (len(sets) + 2))
    for arm, method in METHODS.items():
        if (arm, sets[0]) in cells:
            shown = ["<br>".join(_cell(cells[arm, name][metric]) for metric in METRICS) for name in sets]
            accuracy = sum(accuracies[arm]) / len(accuracies[arm])
            lines.append(f"| {method} | " + " | ".join(shown) + f" | {100 * accuracy:.1f} |")
    return "\n".join(lines)


def _cell(entry: dict[str, float]) -> str:
    return f"{100 * entry['mean']:.1f} ({100 * entry['least']:.1f}–{100 * entry['greatest']:.1f})"


def directions_table(report: dict[str, Any]) -> str:
    """One row per decoder, directions and reconstructions: AUROC in percent, mean over the seeds and their range."""
    columns = [
        ("ID accuracy", lambda row: row["id_accuracy"]),
        ("generated, own", lambda row: _auroc(row, "generated")),
        ("generated, other directions", lambda row: _auroc(row, "generated_other")),
        ("MNIST, 1 - p_n", lambda row: _auroc(row, "mnist")),
        ("MNIST, largest of n", lambda row: _auroc(row, "mnist", "max_in")),
        ("Gaussian", lambda row: _auroc(row, "gaussian")),
        ("uniform", lambda row: _auroc(row, "uniform")),
        ("sphere", lambda row: _auroc(row, "sphere")),
    ]
    groups: dict[tuple[int, str, bool], list[dict[str, Any]]] = {}
    for row in report["rows"]:
        groups.setdefault((row["vae_epochs"], row["direction"], row["id_recon"]), []).append(row)
    names = ["decoder", "directions", "reconstructions", "seeds", *(name for name, _ in columns)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for (epochs, direction, recon), rows in sorted(groups.items()):
        cells = [_spread([value(row) for row in rows]) for _, value in columns]
        words = [f"{epochs} epochs", "uniform" if direction == "normal" else direction, "with" if recon else "–"]
        lines.append("| " + " | ".join([*words, str(len(rows)), *cells]) + " |")
    return "\n".join(lines)


def _auroc(row: dict[str, Any], ood: str, score: str = "one_minus_ood") -> float:
    return float(row["metrics"][ood][score]["auroc"]["value"])


def _spread(values: list[float]) -> str:
    mean = f"{100 * sum(values) / len(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f}–{100 * max(values):.1f})"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        found = read_json(Path(name))
        print(f"{name}\n\n{table(Path(name)) if 'summary' in found else directions_table(found)}\n")

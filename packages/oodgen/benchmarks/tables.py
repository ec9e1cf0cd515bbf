"""Print the README's tables from the JSON files of `compare.py`.

python benchmarks/tables.py results/compare_*.json
"""

import sys
from pathlib import Path

from ood_shared.files import read_json

ARMS = ("msp", "energy", "knn", "mahalanobis", "vim", "type1", "type1_noise", "type2", "both", "both_max_in")


def table(path: Path, metric: str) -> str:
    """One row per method, one column per OOD set: mean over seeds and their range, in percent."""
    report = read_json(path)
    settings = report["settings"]
    sets = list(dict.fromkeys(entry["ood"] for entry in report["summary"]))
    cells = {(entry["arm"], entry["ood"]): entry[metric] for entry in report["summary"]}
    accuracies: dict[str, list[float]] = {}
    for row in report["rows"]:
        accuracies.setdefault(row["arm"], []).append(row["id_accuracy"])
    lines = [
        f"**{settings['id']}, classes {settings['classes']}**, {metric}, {settings['seeds'].count(',') + 1} seeds",
        "",
        "| method | " + " | ".join(sets) + " | ID accuracy |",
        "|" + "---|" * (len(sets) + 2),
    ]
    for arm in ARMS:
        if (arm, sets[0]) in cells:
            shown = [_cell(cells[arm, name]) for name in sets]
            accuracy = sum(accuracies[arm]) / len(accuracies[arm])
            lines.append(f"| {arm} | " + " | ".join(shown) + f" | {100 * accuracy:.1f} |")
    return "\n".join(lines)


def _cell(entry: dict[str, float]) -> str:
    return f"{100 * entry['mean']:.1f} ({100 * entry['least']:.1f}–{100 * entry['greatest']:.1f})"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for metric in ("auroc", "fpr95_id_positive"):
            print(table(Path(name), metric), end="\n\n")

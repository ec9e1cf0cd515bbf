"""The README's table of `results/cifar10_lt.json`: one row for each training and score.

python benchmarks/tables.py [results/cifar10_lt.json]
"""

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

DEFAULT = Path(__file__).parents[1] / "results" / "cifar10_lt.json"


def main() -> None:
    rows = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).read_text())["rows"]
    heads = ("trained with", "score", "AUROC", "FPR95", "AUROC many / median / low", "accuracy", "rejected tail")
    print(f"| {' | '.join(heads)} | accepted as head |")
    print("|---|---|---|---|---|---|---|---|")
    keys = list(dict.fromkeys(map(about, rows)))
    for trained, score in keys:
        found = [row for row in rows if about(row) == (trained, score)]
        groups = [mean(row["group_auroc"][name] for row in found) for name in ("many", "median", "low")]
        errors = [
            mean(mean(cells[place] for cells in row["error_counts"].values()) for row in found) for place in (2, 6)
        ]
        print(
            f"| {trained} | {score} | {percent([row['mean']['auroc'] for row in found])} "
            f"| {percent([row['fpr95'] for row in found])} | {' / '.join(f'{100 * v:.1f}' for v in groups)} "
            f"| {percent([row['accuracy'] for row in found])} | {errors[0]:.0f} | {errors[1]:.1f} |"
        )


def about(row: dict[str, Any]) -> tuple[str, str]:
    """How a network was trained and is scored, as the table names it; older files know τ = 1 and one form alone."""
    trained = f"`{row['trained']}`" + ", τ = 0" * (row.get("tau", 1) == 0)
    return trained, f"`{row['score']}`" + ", consistent" * (row.get("posterior") == "consistent")


def percent(values: list[float]) -> str:
    spread = f" ({100 * min(values):.2f} to {100 * max(values):.2f})" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{spread}"


if __name__ == "__main__":
    main()

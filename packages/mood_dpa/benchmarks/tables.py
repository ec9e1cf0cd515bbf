"""Write the tables of the README from the files in results/: python benchmarks/tables.py"""

import json
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[1] / "results"
NAMES = {
    "start": "perceptual, VGG19 before SimCLR (0 steps)",
    "simclr": "perceptual, the same VGG19 after SimCLR (the method)",
    "random": "perceptual, random VGG19, other draws",
    "l1": "plain L1 reconstruction",
}


def subjects() -> str:
    record = json.loads((RESULTS / "embedded_subjects.json").read_text())
    lines = [
        "| detector | pixel AP | pixel AP, single axes | pixel AUROC | sample AUROC | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in record["rows"].items():
        cells = [spread([row[key] for row in rows]) for key in KEYS]
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} | {len(rows)} |")
    plain = record["plain"]
    for name, row in plain["rows"].items():
        cells = [f"{row[key]:.3f}" if key in row else "–" for key in KEYS]
        lines.append(f"| {name.replace('|', '&#124;')} | {' | '.join(cells)} | – |")
    pairs = zip(*([row["pixel_ap"] for row in record["rows"][name]] for name in ("start", "simclr")), strict=True)
    lines.append("")
    lines.append(
        f"Mean (least to greatest). Before and after SimCLR, seed by seed, pixel AP: "
        f"{', '.join(f'{a:.3f} → {b:.3f}' for a, b in pairs)}. {100 * plain['prevalence']:.2f} % of the voxels are "
        f"anomalous ({100 * plain['prevalence_in_head']:.1f} % of those inside the head), which is the pixel AP of "
        f"chance. mean and sd are those of the {plain['healthy']} training subjects, voxel by voxel."
    )
    return "\n".join(lines)


KEYS = ("pixel_ap", "pixel_ap_single_axes", "pixel_auroc", "sample_auroc")


def hard() -> str:
    """Two tables: every row, then the AP in the head per kind of anomaly."""
    record = json.loads((RESULTS / "hard_subjects.json").read_text())
    rows, chance = record["rows"], record["chance_kinds"]
    kinds = list(chance[0])
    lines = [
        "| detector | AP, volume | AP, head | AP, head, single axes 0, 1, 2 | sample AUROC (95 %) | single axes |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        low, high = row["sample_interval"]
        cells = [
            spread(row["ap_volume"]),
            spread(row["ap_head"]),
            per_axis(row["ap_single_axes"]),
            f"{np.mean(row['sample_auroc']):.2f} ({low:.2f} to {high:.2f})",
            per_axis(row["sample_auroc_single_axes"], 2),
        ]
        lines.append(f"| {named(name)} | {' | '.join(cells)} |")
    lines.append(
        f"| chance | {np.mean(record['chance_volume']):.3f} | {np.mean(record['chance_head']):.3f} | – | 0.5 | – |"
    )
    lines += ["", f"| AP in the head, by kind | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name, row in rows.items():
        cells = [spread([of[kind] for of in row["ap_kinds"]]) for kind in kinds]
        lines.append(f"| {named(name)} | {' | '.join(cells)} |")
    lines.append(f"| chance | {' | '.join(f'{np.mean([of[kind] for of in chance]):.3f}' for kind in kinds)} |")
    return "\n".join(lines)


def hard_128() -> str:
    """One table: every row at 128³ beside the same seed at 64³."""
    large, small = (json.loads((RESULTS / f"hard_subjects{end}.json").read_text()) for end in ("_128", ""))
    (seed,), kinds = large["seeds"], list(large["chance_kinds"][0])
    at = small["seeds"].index(seed)
    head = f"| detector | AP, head, 64³ | AP, head | {' | '.join(kinds)} | sample AUROC (95 %) |"
    lines = [head, "|---|" + "---|" * 8]
    for name, row in large["rows"].items():
        (low, high), (ap,), (of,), (auroc,) = (
            row[key] for key in ("sample_interval", "ap_head", "ap_kinds", "sample_auroc")
        )
        cells = [small["rows"][name]["ap_head"][at], ap, *(of[kind] for kind in kinds)]
        words = " | ".join(f"{value:.3f}" for value in cells)
        lines.append(f"| {named(name)} | {words} | {auroc:.2f} ({low:.2f} to {high:.2f}) |")
    cells = [small["chance_head"][at], large["chance_head"][0], *(large["chance_kinds"][0][kind] for kind in kinds)]
    return "\n".join([*lines, f"| chance | {' | '.join(f'{value:.3f}' for value in cells)} | 0.5 |"])


def named(row: str) -> str:
    return NAMES.get(row, row.replace("|", "&#124;"))


def per_axis(seeds: list[list[float]], digits: int = 3) -> str:
    """Means over the seeds, axis by axis."""
    return ", ".join(f"{value:.{digits}f}" for value in np.mean(seeds, 0)) if seeds[0] else "–"


def spread(values: list[float], digits: int = 3) -> str:
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def speed() -> str:
    lines = ["| measured | ratio | wanted |", "|---|---|---|"]
    for name, rows in SPEED.items():
        path = RESULTS / f"{name}.json"
        record = json.loads(path.read_text()) if path.is_file() else None
        for key, what, wanted in rows:
            value = "not measured" if record is None else f"{record[key]:.3g}"
            lines.append(f"| {what} | {value} | {wanted} |")
    return "\n".join(lines)


SPEED = {
    "bench_drawing_and_ap": (
        ("drawing_ratio", "one ellipsoid in 128³: in its box, times as fast as on the whole grid", "≥ 50"),
        ("ap_ratio", "AP of 128³ float16 scores: by counting, times as fast as scikit-learn", "≥ 10"),
    ),
    "bench_step": (("ratio", "training step, over the bare networks", "≤ 1.08"),),
    "bench_layout": (
        ("volume_ratio", "a volume on a CPU, channels last in small parts, times as fast as in parts of 128", "≥ 1.2"),
        ("step_ratio", "a training step on a CPU, channels last, times as fast", "≥ 1.1"),
        ("memory_ratio", "peak memory of that volume, times as small", "≥ 2"),
    ),
    "bench_volume": (
        ("share_not_networks", "save_2D and three-axis inference of 128³: share that is not the networks", "≤ 0.1"),
    ),
}


def main() -> None:
    readme = RESULTS.parent / "README.md"
    text = readme.read_text()
    for name, table in (("subjects", subjects()), ("hard", hard()), ("hard128", hard_128()), ("speed", speed())):
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        head, rest = text.split(start)
        text = f"{head}{start}\n{table}\n{end}{rest.split(end)[1]}"
    readme.write_text(text)


if __name__ == "__main__":
    main()

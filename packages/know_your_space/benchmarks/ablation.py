"""Where inliers and outliers come from, the paper's question: latent or pixel, each with each, and neither.

    python benchmarks/ablation.py --work DIR [--data DIR] [--output results/ablation.json] [--seeds 3]

Trains by the training command and scores by the detection command: on the embedded digits (8 and 9 are novel classes),
and with --data, as in `medical.py`, on PneumoniaMNIST. Networks and schedules are much smaller than the paper's
(`SUITES`). What --output holds is not measured again, and a training that was stopped goes on. `--table FILE` prints.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from know_your_space.data import paths
from medical import SETS, run, unpacked
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.flags import positive_int
from ood_shared.results.record import read_result

PIXEL = ("--augmix", "--rand_conv")
ARMS = {  # (inliers, outliers)
    "none / none": ("--inlier_space", "none", "--outlier_space", "none"),
    "latent / latent": ("--inlier_space", "latent", "--outlier_space", "latent"),
    "pixel / latent": ("--inlier_space", "pixel", "--outlier_space", "latent"),
    "pixel / pixel": ("--inlier_space", "pixel", "--outlier_space", "pixel", *PIXEL),
    "latent / pixel": ("--inlier_space", "latent", "--outlier_space", "pixel", *PIXEL),
}
NAMES = {
    "none / none": "cross-entropy",
    "pixel / latent": "VOS++",
    "pixel / pixel": "NDA++",
    "latent / pixel": "the paper",
}
NETWORK = ("--layers", "10", "--widen-factor", "1")
SUITES = {  # of the training command; the digits as in the README, PneumoniaMNIST as in contrast.py
    "digits": (
        *("--droprate", "0", "--batch_size", "32", "--lr", "0.002"),
        *("--sample_number", "32", "--epochs", "12"),
    ),
    "pneumoniamnist": ("--epochs", "5"),
}
METRICS = ("auroc", "fpr95")


def main() -> int:
    parser = Parser(prog="ablation.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the archives of medical.py; without it digits alone")
    parser.add_argument("--work", type=Path, help="folder for runs and unpacked images")
    parser.add_argument("--output", type=Path, help="JSON file to write, and to go on with")
    parser.add_argument("--seeds", type=positive_int, default=3)
    parser.add_argument("--table", type=Path, help="print the tables of this file and end")
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> int:
    """Measure what is missing and write it after each run."""
    if options.table is not None:
        print(tables(files.read_json(options.table)))
        return 0
    if None in (options.work, options.output):
        raise InputError("--work and --output are needed: a folder for the runs, and the JSON file to write.")
    settings = {"network": NETWORK, "suites": SUITES, "flags": ARMS}
    report = {"settings": json.loads(json.dumps(settings)), "rows": []}
    if options.output.is_file():
        found = files.read_json(options.output)
        if found["settings"] != report["settings"]:
            raise InputError(f"{options.output} was made with other settings. Delete it or name another file.")
        report["rows"] = found["rows"]
    report |= {"hardware": runs.hardware(resolve_device("cpu")), "versions": runs.versions()}
    for suite in SUITES if options.data is not None else ("digits",):
        for seed in range(options.seeds):
            for arm in ARMS:
                key = {"id": suite, "arm": arm, "seed": seed}
                if not any(key.items() <= row.items() for row in report["rows"]):
                    report["rows"].append({**key, **measured(options, suite, arm, seed)})
                    files.write_json(options.output, report)
    print(tables(report))
    return 0


def measured(options: argparse.Namespace, suite: str, arm: str, seed: int) -> dict[str, Any]:
    """Train one arm; metrics of every OOD set against the ID test images."""
    name = f"{arm.replace(' / ', '_')}_{seed}"
    place = ["--in_dataset", suite, "--output-dir", str(options.work), "--device", "cpu", *NETWORK]
    wanted = []
    if suite != "digits":
        place += ["--data_dir", str(options.data)]
        sets = [str(unpacked(options, *where)) for where in SETS.values()]
        wanted = ["--out_test_dataset", ",".join(sets)]
    run("train", *place, "--dist", *SUITES[suite], *ARMS[arm], "--seed", str(seed), "--ckpt_name", name)
    run("detect", *place, "--id_part", "test", "--dir_name", name, *wanted)
    record, _ = read_result(paths.log_folder(options.work, "wrn", suite, name))
    return {
        "id_accuracy": record["id_accuracy"]["value"],
        "metrics": {word: {m: cells[m]["value"] for m in METRICS} for word, cells in record["metrics"].items()},
        "images": {word: cells["n_ood"] for word, cells in record["metrics"].items()},
        "commit": record["commit"],
    }


def tables(report: dict[str, Any]) -> str:
    """For each ID set AUROC and fpr95 in %, mean over the seeds and range of the AUROC."""
    lines: list[str] = []
    for suite in SUITES:
        rows = [row for row in report["rows"] if row["id"] == suite]
        if not rows:
            continue
        names = list(rows[0]["metrics"])
        heads = [f"{shown(name)} ({rows[0]['images'][name]})" for name in names]
        lines += [f"{suite}, {len({row['seed'] for row in rows})} seeds", ""]
        lines += [f"| inliers / outliers | {' | '.join(heads)} | mean AUROC | ID accuracy |"]
        lines += ["|---" * (len(names) + 3) + "|"]
        found = {arm: [row for row in rows if row["arm"] == arm] for arm in ARMS}
        for arm, of_arm in found.items():
            if not of_arm:
                continue
            cells = [_cell(of_arm, name) for name in names]
            means = [statistics.mean(cell["auroc"] for cell in row["metrics"].values()) for row in of_arm]
            cells += [_spread(means), _spread([row["id_accuracy"] for row in of_arm])]
            label = f"{arm} ({NAMES[arm]})" if arm in NAMES else arm
            lines.append(f"| {label} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def shown(name: str) -> str:
    """Name of a set in the tables."""
    return {
        "chest_xray224": "NIH chest X-rays",
        "mednist_cxr": "MedNIST CXR",
        "mednist_abdomenct": "MedNIST AbdomenCT",
        "mednist_headct": "MedNIST HeadCT",
        "ood32_textures": "textures",
        "digits-novel": "digits 8, 9",
    }.get(name, name)


def _cell(rows: list[dict[str, Any]], name: str) -> str:
    of_set = [row["metrics"][name] for row in rows]
    return f"{_spread([cell['auroc'] for cell in of_set])}<br>{100 * statistics.mean(c['fpr95'] for c in of_set):.1f}"


def _spread(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):.1f} ({100 * min(values):.0f} to {100 * max(values):.0f})"


if __name__ == "__main__":
    sys.exit(main())

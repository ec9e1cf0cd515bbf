"""PneumoniaMNIST against other real sets: plain energy and the paper's method, several seeds, by the two commands.

    python benchmarks/medical.py --data DIR --work DIR --output results/pneumoniamnist.json [--seeds 3] [--epochs 15]

DIR holds medmnist/pneumoniamnist.npz, mednist64.tar.gz, chest_xray224.tar, ood32_textures.tar.gz and MNIST/raw. Trained
runs in --work are taken as they are; interrupted ones go on. `--table FILE` prints the README's table of a file.
"""

import argparse
import contextlib
import statistics
import sys
import tarfile
from pathlib import Path
from typing import Any

from know_your_space import cli
from know_your_space.data import paths
from ood_shared import files
from ood_shared.cli import Parser, run_command
from ood_shared.flags import positive_int
from ood_shared.results.record import read_result

ID = "pneumoniamnist"
ARMS = {
    "energy, no calibration": ("--inlier_space", "none", "--outlier_space", "none"),
    "know_your_space": ("--augmix", "--rand_conv"),
}
SETS = {  # archive, folder of a class or of all
    "chest X-rays": ("chest_xray224.tar", None),
    "MedNIST CXR": ("mednist64.tar.gz", "CXR"),
    "MedNIST AbdomenCT": ("mednist64.tar.gz", "AbdomenCT"),
    "MedNIST HeadCT": ("mednist64.tar.gz", "HeadCT"),
    "textures": ("ood32_textures.tar.gz", None),
}
NAMED = {"MNIST": "mnist"}
METRICS = ("auroc", "fpr95", "fpr95_id_positive")


def main() -> int:
    parser = Parser(prog="medical.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the archives")
    parser.add_argument("--work", type=Path, help="folder for runs and unpacked images")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--seeds", type=positive_int, default=3)
    parser.add_argument("--epochs", type=positive_int, default=15)
    parser.add_argument("--layers", type=positive_int, default=16)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--table", type=Path, help="print the table of this file and end")
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> int:
    if options.table is not None:
        print(table(files.read_json(options.table)))
        return 0
    if None in (options.data, options.work, options.output):
        print("medical.py: error: --data, --work and --output are needed.", file=sys.stderr)
        return 2
    sets = {name: unpacked(options, *where) for name, where in SETS.items()} | NAMED
    rows: list[dict[str, Any]] = []
    network = ["--model_type", "wrn", "--layers", str(options.layers), "--output-dir", str(options.work)]
    place = ["--in_dataset", ID, "--data_dir", str(options.data), "--precision", options.precision, *network]
    for seed in range(options.seeds):
        for arm, flags in ARMS.items():
            name = f"{'paper' if '--augmix' in flags else 'plain'}_{seed}"
            run(
                "train",
                *place,
                "--dist",
                *flags,
                "--epochs",
                str(options.epochs),
                "--seed",
                str(seed),
                "--ckpt_name",
                name,
            )
            wanted = ",".join(map(str, sets.values()))
            run("detect", *place, "--id_part", "test", "--out_test_dataset", wanted, "--dir_name", name)
            record, _ = read_result(paths.log_folder(options.work, "wrn", ID, name))
            short = {paths.set_name(str(word)): shown for shown, word in sets.items()}
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "id_accuracy": record["id_accuracy"],
                    "metrics": {short[name]: cells for name, cells in record["metrics"].items()},
                    "commit": record["commit"],
                    "versions": record["versions"],
                    "hardware": record["hardware"],
                }
            )
    settings = {word: getattr(options, word) for word in ("seeds", "epochs", "layers", "precision")}
    report = {"id": ID, "settings": settings, "flags": ARMS, "rows": rows}
    files.write_json(options.output, report)
    print(table(report))
    return 0


def table(report: dict[str, Any]) -> str:
    """AUROC and below it FPR95 of each arm and set: mean over the seeds, and the widest of their 95 % intervals."""
    sets = list(report["rows"][0]["metrics"])
    lines = ["| OOD set | images | " + " | ".join(report["flags"]) + " |", "|---|---|" + "---|" * len(report["flags"])]
    for name in sets:
        cells = []
        for arm in report["flags"]:
            found = [row["metrics"][name] for row in report["rows"] if row["arm"] == arm]
            cells.append("<br>".join(_cell([entry[metric] for entry in found]) for metric in METRICS[:2]))
        images = report["rows"][0]["metrics"][name]["n_ood"]
        lines.append(f"| {name} | {images} | " + " | ".join(cells) + " |")
    accuracies = [[row["id_accuracy"] for row in report["rows"] if row["arm"] == arm] for arm in report["flags"]]
    lines.append("| ID accuracy | | " + " | ".join(map(_cell, accuracies)) + " |")
    return "\n".join(lines)


def _cell(entries: list[dict[str, float]]) -> str:
    mean = statistics.mean(entry["value"] for entry in entries)
    low, high = min(entry["low"] for entry in entries), max(entry["high"] for entry in entries)
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def unpacked(options: argparse.Namespace, archive: str, chosen: str | None) -> Path:
    """The images of an archive, of one class when named, as a folder tree of its own."""
    word = Path(archive).name.split(".")[0] if chosen is None else f"mednist_{chosen.lower()}"
    target = options.work / "sets" / word
    if not target.is_dir():
        with tarfile.open(options.data / archive) as tar:
            wanted = [m for m in tar.getmembers() if chosen is None or f"/{chosen}/" in f"/{m.name}"]
            tar.extractall(target, members=[m for m in wanted if "train/" not in m.name], filter="data")
    return Path(target)


def run(*argv: str) -> None:
    """A command of the package; its lines go to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        status = cli.main(list(argv))
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    sys.exit(main())

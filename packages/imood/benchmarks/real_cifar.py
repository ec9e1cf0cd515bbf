"""CIFAR10-LT with real outliers, shortened for a CPU: plain and balanced, in training and after it.

    python benchmarks/real_cifar.py DATA [--work runs-real] [--epochs 8] [--width 16] [--seeds 0] [--metrics oe …]

DATA holds `cifar10_imagefolder.tar.gz`, `aux_tinyimagenet32.tar.gz` and `ood32_{textures,tinyimagenet,scenes}.tar.gz`,
image folders in archives. For each metric two networks are trained with τ = 1, without and with the regularisation,
and with `--tau0` one more, without either: what normalisation after training assumes. All are tested with the plain
score and with the normalised one, published and consistent. Everything that was measured goes into
`results/cifar10_lt.json`; `tables.py` makes the README's table of it. A run that is there already is not repeated.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from imood import cli
from ood_shared.files import write_json
from ood_shared.runs import versions

METRICS = {"oe": "msp", "energy": "energy", "bin_disc": "bin_disc"}
SETS = ("textures", "tinyimagenet", "scenes")
RESULT = Path(__file__).parents[1] / "results" / "cifar10_lt.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs-real"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=list(METRICS))
    parser.add_argument("--tau0", action="store_true", help="train the plain network with tau 0, too")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    tests = ",".join(f"{name}={options.data}/ood32_{name}.tar.gz" for name in SETS)
    rows = []
    for seed in map(int, options.seeds.split(",")):
        for metric in options.metrics:
            for trained, tau in ((metric, 1), (f"ada_{metric}", 1), *([(metric, 0)] if options.tau0 else [])):
                rows += measured(options, trained, tau, METRICS[metric], seed, tests)
                write_json(options.out, {"settings": settings(options), "versions": versions(), "rows": rows})


def settings(options: argparse.Namespace) -> dict[str, object]:
    return {
        "id": "CIFAR-10 (JPEG), imbalance ratio 0.01, 12,406 training images",
        "aux": "20,157 Tiny-ImageNet images without classes near to CIFAR-10",
        "network": f"ResNet18 with {options.width} instead of 64 channels in the first stage",
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "precision": options.precision,
        "Lambda": 0.5,
        "aux_ood_loss": "none",
    }


def measured(
    options: argparse.Namespace, trained: str, tau: int, plain: str, seed: int, tests: str
) -> list[dict[str, object]]:
    """Train unless the run is finished, test with the plain and the normalised scores, and collect the numbers."""
    folder = options.work / f"{trained}-tau{tau}-seed{seed}"
    common = ["--device", options.device, "--ds", f"tar:{options.data.resolve()}/cifar10_imagefolder.tar.gz"]
    common += ["--rho", "0.01", "--precision", options.precision, "--channels_last"]
    if not (folder / "finished").is_file():
        started = time.perf_counter()
        words = ["train", *common, "--ood_aux", f"tar:{options.data.resolve()}/aux_tinyimagenet32.tar.gz"]
        words += ["--ood_metric", trained, "--tau", str(tau), "-e", str(options.epochs), "-b", str(options.batch_size)]
        words += ["--width", str(options.width), "--seed", str(seed), "--output-dir", str(folder), "--resume"]
        run(words)
        (folder / "finished").write_text(f"{time.perf_counter() - started:.1f}")
    words = ["test", *common, "--ood_test", tests, "--ckpt_path", str(folder), "--seed", str(seed)]
    run([*words, "--ood_metric", f"{plain},ada_{plain}"])
    forms = [(plain, "published", f"{plain}-tau1.0"), (f"ada_{plain}", "published", f"ada_{plain}-tau1.0")]
    if tau:  # at 0 both forms are one
        run([*words, "--ood_metric", f"{plain},ada_{plain}", "--posterior", "consistent"])
        forms.append((f"ada_{plain}", "consistent", f"ada_{plain}-tau1.0-consistent"))
    about = {"trained": trained, "tau": tau, "seed": seed, "train_seconds": float((folder / "finished").read_text())}
    return [
        {
            **about,
            "score": score,
            "posterior": posterior,
            **numbers(json.loads((folder / name / "result.json").read_text())),
        }
        for score, posterior, name in forms
    ]


def numbers(result: dict[str, Any]) -> dict[str, object]:
    """What the tables need of one test."""
    published = result["published"]
    return {
        "accuracy": published["accuracy"],
        "accuracy_groups": [published[name] for name in ("many", "median", "low")],
        "mean": published["mean"],
        "fpr95": mean(result, "fpr95"),
        "group_auroc": result["group_auroc"],
        "predicted_groups": result["predicted_groups"],
        "sets": {name: {key: result["metrics"][name][key] for key in ("auroc", "fpr95")} for name in SETS},
        "error_counts": {name: published["sets"][name]["error_counts"] for name in SETS},
    }


def mean(result: dict[str, Any], key: str) -> float:
    return sum(cells[key]["value"] for cells in result["metrics"].values()) / len(result["metrics"])


def run(words: list[str]) -> None:
    status = cli.main(words)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()

"""Waterbirds in miniature, on a CPU: cross-entropy against ASCOOD where the background goes with the class.

    python benchmarks/spurious_digits.py --work DIR [--seeds 0 1 2] [--arms base ascood …] [--epochs 30]

The images (`ascood.data.spurious`) are made below DIR from what comes inside installed packages. Then main.py and
eval_ood.py run as a user would call them, and the numbers go to results/spurious_digits.json after each run. A run that
is finished is not trained again; one that was stopped goes on. `--table FILE` prints the README's tables of a file.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ascood import cli
from ascood.attribution import saliency
from ascood.build import open_run
from ascood.data.spurious import BACKGROUNDS, Settings, id_part, write_spurious
from ascood.data.suites import make_suite
from ascood.outliers import selection_size
from ascood.run_files import BEST
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.flags import positive_int
from ood_shared.results.record import read_result
from ood_shared.runs import CHECKPOINT
from torch import nn

PACKAGE = Path(__file__).resolve().parents[1]
SCORES = ("msp", "ebo", "odin", "iodin", "knn", "scale")
NETWORK = "smallresnet10"
DATA = Path("spurious")
SPURIOUS, CONVENTIONAL = ("backgrounds", "foreign"), ("grass", "photos", "faces", "letters")
METRICS = ("auroc", "fpr95")
COMMON = ("--merge_option", "merge", "--num_workers", "0", "--num_gpus", "0", "--id-data", f"folder:{DATA}")
ARGS = "--trainer.trainer_args."
ARMS: dict[str, tuple[str, ...]] = {
    "base": (),
    "head": (f"{ARGS}w", "0", f"{ARGS}p_inv", "0"),  # its outliers are the images themselves, without a loss
    "ascood": (f"{ARGS}w", "0.1"),  # Waterbirds: gradient, p_inv 0.1, alpha 300 to 30
    "ascood-celeba": (f"{ARGS}w", "1.0", f"{ARGS}p_inv", "0.05", f"{ARGS}alpha_max", "50.0"),  # alpha 50 to 30
}
SHOWN = {
    "base": "cross-entropy",
    "head": "standardised head alone",
    "ascood": "ASCOOD, as for Waterbirds",
    "ascood-celeba": "ASCOOD, as for CelebA",
}
ON_DIGIT = 0.1  # least share of ink, of the darkest possible, for a pixel to count as the digit's
P_INV = 0.1  # share of the values of largest attribution that are looked at


def main() -> int:
    parser = Parser(prog="spurious_digits.py", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for images and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=tuple(ARMS))
    parser.add_argument("--epochs", type=positive_int, default=30)
    parser.add_argument("--lr", default="0.1", help="of all arms (default: 0.1)")
    parser.add_argument("--output", type=Path, default=PACKAGE / "results" / "spurious_digits.json")
    parser.add_argument("--table", type=Path, help="print the tables of this file and end")
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> int:
    """Train what is missing, evaluate all, write the numbers."""
    if options.table is not None:
        print(tables(files.read_json(options.table)))
        return 0
    if options.work is None:
        raise InputError("--work is missing: a folder for images and runs.")
    work, output = options.work.resolve(), options.output.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    write_spurious(DATA)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        for arm in options.arms:
            folder = Path("runs") / f"{arm}_{seed}" / f"s{seed}"  # eval_ood.py takes all runs s* of a root
            if not list(folder.glob(f"last_epoch{options.epochs}_*.ckpt")):
                resume = ["--resume"] if (folder / CHECKPOINT).is_file() else []
                words = [*command(arm, options), "--seed", str(seed), "--output-dir", str(folder), *COMMON, *resume]
                done(cli.main_main(words), "main.py")
            rows.append({"arm": arm, "seed": seed, **measured(arm, folder)})
            report(options, rows, output)
    print(tables(files.read_json(output)))
    return 0


def command(arm: str, options: argparse.Namespace) -> list[str]:
    """What main.py is told beside the images."""
    own = "baseline" if arm == "base" else "train_ascood"
    network = "lenet" if arm == "base" else "ascood_net"
    configs = [f"configs/networks/{network}.yml", f"configs/pipelines/train/{own}.yml"]
    return [
        *("--config", *configs, "configs/preprocessors/ascood_preprocessor.yml"),
        *("--network.name" if arm == "base" else "--network.backbone.name", NETWORK),
        *("--preprocessor.name", "common"),  # shifts without a mirror: a mirrored digit is none
        *("--dataset.train.batch_size", "64", "--optimizer.lr", options.lr),
        *("--optimizer.num_epochs", str(options.epochs), *ARMS[arm]),
    ]


def measured(arm: str, folder: Path) -> dict[str, Any]:
    """Metrics of every score and set, accuracies, and where the largest attributions lie."""
    wrapper = [] if arm == "base" else ["--wrapper-net", "ASCOODNet"]
    words = ["--id-data", f"folder:{DATA}", "--root", str(folder.parent), "--postprocessor", ",".join(SCORES), *wrapper]
    done(cli.eval_main([*words, "--save-csv", "--save-score", "--device", "cpu", "--num-workers", "0"]), "eval_ood.py")
    found = {score: read_result(folder / "results" / score)[0] for score in SCORES}
    metrics = {
        score: {
            name: {metric: result["metrics"][name][metric]["value"] for metric in METRICS}
            for name in (*SPURIOUS, *CONVENTIONAL)
        }
        for score, result in found.items()
    }
    result = found[SCORES[0]]
    sight = seen(folder, wrapper[1] if wrapper else None)
    accuracy = result["id_accuracy"]["value"]
    both = (sight["accuracy_own_background"] + sight["accuracy_other_background"]) / 2  # as many images of each
    if abs(both - accuracy) > 0.005:
        raise InputError(f"{folder} has ID accuracy {accuracy} by eval_ood.py, {both} here. Delete the folder.")
    return {"metrics": metrics, "id_accuracy": accuracy, **sight, "commit": result["commit"]}


def seen(folder: Path, wrapper: str | None) -> dict[str, float]:
    """Accuracy on both kinds of backgrounds, and how far the largest attributions lie on the digit, on ID test images.

    `on_digit` is the share of the `P_INV` largest |G| that lie on pixels of the digit, `area` the share of these pixels
    in the image: what values drawn at random would give.
    """
    suite = make_suite(f"folder:{DATA}", None)
    network = open_run(folder / BEST, None, wrapper, suite, torch.device("cpu"))
    part = id_part("test", Settings())
    mean, std = (torch.tensor(values)[:, None, None] for values in (suite.chain.mean, suite.chain.std))
    images = (torch.from_numpy(part.images).permute(0, 3, 1, 2) / 255 - mean) / std
    labels = torch.from_numpy(part.labels)
    right = predicted(network, images).eq(labels).numpy()
    own = part.labels == part.backgrounds
    attribution = torch.cat(
        [saliency(network, *chunk) for chunk in zip(images.split(200), labels.split(200), strict=True)]
    )
    on_digit = torch.from_numpy(part.ink >= ON_DIGIT * Settings().opacity)[:, None].expand_as(attribution).flatten(1)
    count = selection_size(images.shape[1:], P_INV, "gradient")
    chosen = attribution.flatten(1).abs().topk(count, dim=1).indices
    return {
        "accuracy_own_background": float(right[own].mean()),
        "accuracy_other_background": float(right[~own].mean()),
        "on_digit": float(on_digit.gather(1, chosen).double().mean()),
        "area": float(on_digit.double().mean()),
    }


@torch.no_grad()
def predicted(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Classes of normalised images."""
    network.eval()
    return torch.cat([network(chunk).argmax(1) for chunk in images.split(200)])


def report(options: argparse.Namespace, rows: list[dict[str, Any]], output: Path) -> None:
    """Everything measured so far."""
    setting = {
        "network": NETWORK,
        "epochs": options.epochs,
        "data": {**vars(Settings()), "backgrounds": list(BACKGROUNDS)},
        "commands": {arm: " ".join(["main.py", *command(arm, options)]) for arm in options.arms},
    }
    where = {"hardware": runs.hardware(resolve_device("cpu")), "versions": runs.versions()}
    files.write_json(output, {"setting": setting, "rows": rows, **where})


def tables(found: dict[str, Any]) -> str:
    """AUROC / fpr95 by arm and score, and what the networks see; in percent, mean over the seeds and their range."""
    names = [*SPURIOUS, "conventional, mean of four"]
    lines = [f"| training | score | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    arms = [arm for arm in ARMS if any(row["arm"] == arm for row in found["rows"])]
    for arm in arms:
        rows = [row for row in found["rows"] if row["arm"] == arm]
        for score in SCORES:
            of_sets = [[row["metrics"][score][name] for row in rows] for name in SPURIOUS]
            far = [[row["metrics"][score][name] for name in CONVENTIONAL] for row in rows]
            of_sets.append([{m: float(np.mean([cell[m] for cell in cells])) for m in METRICS} for cells in far])
            cells = [" / ".join(_cell([entry[m] for entry in entries]) for m in METRICS) for entries in of_sets]
            lines.append(f"| {SHOWN[arm]} | `{score}` | {' | '.join(cells)} |")
    keys = ("id_accuracy", "accuracy_own_background", "accuracy_other_background", "on_digit", "area")
    head = ("ID accuracy", "on its own background", "on the other", "largest 10 % of \\|G\\| on the digit", "its area")
    lines += ["", f"| training | {' | '.join(head)} |", "|---" * (1 + len(keys)) + "|"]
    for arm in arms:
        rows = [row for row in found["rows"] if row["arm"] == arm]
        lines.append(f"| {SHOWN[arm]} | {' | '.join(_cell([row[key] for row in rows]) for key in keys)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * np.mean(values):.1f} ({low:.0f} to {high:.0f})"


def done(status: int, name: str) -> None:
    """Stop where a command failed; it has said why."""
    if status:
        raise InputError(f"{name} ended with status {status}.")


if __name__ == "__main__":
    sys.exit(main())

"""Waterbirds in miniature, on a CPU: cross-entropy against ASCOOD where the background goes with the class.

    python benchmarks/spurious_digits.py --work DIR [--seeds 0 1 2] [--arms base more ascood …]

In the paper all trainings start from a network that knows images; here from one that cross-entropy has trained on the
same images. These (`ascood.data.spurious`) are made below DIR from what comes inside installed packages. main.py and
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
LONG = ("--optimizer.lr", "0.1", "--optimizer.num_epochs", "30")  # of 0.1 and 0.03, by ID validation accuracy
MORE = ("--optimizer.lr", "0.01", "--optimizer.num_epochs", "10")  # lr as for Waterbirds
ARMS: dict[str, tuple[str, ...]] = {  # of the trainer's hyper-parameters; `FROM_BASE` start from the weights of `base`
    "base": (),
    "more": (),
    "ascood": (f"{ARGS}w", "0.1"),  # Waterbirds: gradient, p_inv 0.1, alpha 300 to 30
    "scaled": (f"{ARGS}w", "0.1", f"{ARGS}alpha_max", "6.12", f"{ARGS}alpha_min", "0.612"),  # times (32 / 224)^2
}
# `scaled`: an input gradient spreads over all pixels, so that the step alpha G of a pixel is larger in smaller images.
PLAIN, FROM_BASE = ("base", "more"), ("more", "ascood", "scaled")
SHOWN = {
    "base": "cross-entropy",
    "more": "cross-entropy, then more of it",
    "ascood": "cross-entropy, then ASCOOD as for Waterbirds",
    "scaled": "the same, alpha by the size of the images",
}
ON_DIGIT = 0.1  # least share of ink, of the darkest possible, for a pixel to count as the digit's
P_INV = 0.1  # share of the values of largest attribution that are looked at


def main() -> int:
    parser = Parser(prog="spurious_digits.py", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for images and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=tuple(ARMS))
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
            epochs = (MORE if arm in FROM_BASE else LONG)[-1]
            if not list(folder.glob(f"last_epoch{epochs}_*.ckpt")):
                resume = ["--resume"] if (folder / CHECKPOINT).is_file() else []
                words = [*command(arm, seed), "--seed", str(seed), "--output-dir", str(folder), *COMMON, *resume]
                done(cli.main_main(words), "main.py")
            rows.append({"arm": arm, "seed": seed, **measured(arm, folder)})
            report(options, rows, output)
    print(tables(files.read_json(output)))
    return 0


def command(arm: str, seed: int) -> list[str]:
    """What main.py is told beside the images and the seed."""
    plain = arm in PLAIN
    names = ("lenet", "baseline") if plain else ("ascood_net", "train_ascood")
    backbone = "--network." if plain else "--network.backbone."
    start = Path("runs") / f"base_{seed}" / f"s{seed}" / BEST
    return [
        *("--config", f"configs/networks/{names[0]}.yml", f"configs/pipelines/train/{names[1]}.yml"),
        *("configs/preprocessors/ascood_preprocessor.yml", f"{backbone}name", NETWORK),
        *((f"{backbone}pretrained", "True", f"{backbone}checkpoint", str(start)) if arm in FROM_BASE else ()),
        *("--preprocessor.name", "common"),  # shifts without a mirror: a mirrored digit is none
        *("--dataset.train.batch_size", "64", *(MORE if arm in FROM_BASE else LONG), *ARMS[arm]),
    ]


def measured(arm: str, folder: Path) -> dict[str, Any]:
    """Metrics of every score and set, accuracies, and where the largest attributions lie."""
    wrapper = [] if arm in PLAIN else ["--wrapper-net", "ASCOODNet"]
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
    in the image: what values drawn at random would give. `gradient` is the mean of these |G| per unit of a normalised
    pixel; times alpha it is how far a `gradient` outlier is moved there, where 2 is all from black to white.
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
    largest, chosen = attribution.flatten(1).abs().topk(count, dim=1)
    return {
        "accuracy_own_background": float(right[own].mean()),
        "accuracy_other_background": float(right[~own].mean()),
        "on_digit": float(on_digit.gather(1, chosen).double().mean()),
        "area": float(on_digit.double().mean()),
        "gradient": float(largest.double().mean()),
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
        "data": {**vars(Settings()), "backgrounds": list(BACKGROUNDS)},
        "commands": {arm: " ".join(["main.py", *command(arm, 0)]) for arm in options.arms},
    }
    where = {"hardware": runs.hardware(resolve_device("cpu")), "versions": runs.versions()}
    files.write_json(output, {"setting": setting, "rows": rows, **where})


def tables(found: dict[str, Any]) -> str:
    """AUROC and fpr95 by OOD set and score, and what the networks see; in %, mean over the seeds and their range."""
    arms = {arm: [row for row in found["rows"] if row["arm"] == arm] for arm in ARMS}
    arms = {arm: rows for arm, rows in arms.items() if rows}
    lines = ["| OOD | score | " + " | ".join(SHOWN[arm] for arm in arms) + " |", "|---" * (2 + len(arms)) + "|"]
    for label, names in (*((name, (name,)) for name in SPURIOUS), ("conventional", CONVENTIONAL)):
        for score in SCORES:
            cells = [" / ".join(_cell(_mean_of(rows, score, names, m)) for m in METRICS) for rows in arms.values()]
            lines.append(f"| {label} | `{score}` | {' | '.join(cells)} |")
    keys = ("id_accuracy", "accuracy_own_background", "accuracy_other_background", "on_digit", "area")
    head = ("ID accuracy", "on its own background", "on the other", "largest 10 % of \\|G\\| on the digit", "its area")
    lines += ["", f"| training | {' | '.join(head)} |", "|---" * (1 + len(keys)) + "|"]
    for arm, rows in arms.items():
        lines.append(f"| {SHOWN[arm]} | {' | '.join(_cell([row[key] for row in rows]) for key in keys)} |")
    return "\n".join(lines)


def _mean_of(rows: list[dict[str, Any]], score: str, names: tuple[str, ...], metric: str) -> list[float]:
    """The metric of each run, mean over the sets."""
    return [float(np.mean([row["metrics"][score][name][metric] for name in names])) for row in rows]


def _cell(values: list[float]) -> str:
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * np.mean(values):.1f} ({low:.0f} to {high:.0f})"


def done(status: int, name: str) -> None:
    """Stop where a command failed; it has said why."""
    if status:
        raise InputError(f"{name} ended with status {status}.")


if __name__ == "__main__":
    sys.exit(main())

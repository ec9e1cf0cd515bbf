"""Waterbirds in miniature, on a CPU: cross-entropy against ASCOOD where the background goes with the class.

    python benchmarks/spurious_digits.py --work DIR [--seeds 0 1 2] [--arms base more ascood …]

In the paper all trainings start from a network that knows images; here from one that cross-entropy has trained on the
same images. These (`ascood.data.spurious`) are made below DIR from what comes inside installed packages. main.py and
eval_ood.py run as a user would call them, and the numbers go to results/spurious_digits.json after each run. A run that
is there is not measured again; one that was stopped goes on. `--table FILE` prints the README's tables of a file.
"""

import argparse
import copy
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ascood import cli
from ascood.attribution import mode, saliency
from ascood.build import open_run
from ascood.data.preprocessing import normalisation
from ascood.data.spurious import BACKGROUNDS, Part, Settings, id_part, write_spurious
from ascood.data.suites import make_suite
from ascood.outliers import gradient_outliers, selection_size
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
BASE_RATE, RATE = 0.1, 0.01  # 0.1 of 0.1 and 0.03 by ID validation accuracy; the other as for Waterbirds
SCALED = (f"{ARGS}w", "0.1", f"{ARGS}alpha_max", "6.12", f"{ARGS}alpha_min", "0.612")
HEAD = (f"{ARGS}w", "0", f"{ARGS}p_inv", "0")  # of standardised features, without outliers: they are the images
ARMS: dict[str, tuple[str, ...]] = {  # of the trainer's hyper-parameters; all but `base` start from the weights of it
    "base": (),
    "more": (),
    "far": (),
    "ascood": (f"{ARGS}w", "0.1"),  # Waterbirds: gradient, p_inv 0.1, alpha 300 to 30
    # An attribution falls with the number of pixels: what moves values at 32 pixels as far as alpha does at 224.
    "scaled": SCALED,
    "longer": SCALED,
    "head": HEAD,
    "heads": HEAD,
}
PLAIN = ("base", "more", "far")
EPOCHS = {"base": 30, "far": 30, "longer": 30, "heads": 30}  # the others 10
SHOWN = {
    "base": "cross-entropy",
    "more": "and 10 epochs more of it",
    "far": "30 epochs more of cross-entropy",
    "ascood": "10 epochs of ASCOOD, alpha as documented",
    "scaled": "10 epochs of ASCOOD, alpha times (32 / 224)²",
    "longer": "30 epochs of ASCOOD, alpha times (32 / 224)²",
    "head": "10 epochs of its head without outliers",
    "heads": "30 epochs of its head without outliers",
}
README = (("far", "ascood", "longer", "heads"), ("msp", "odin", "knn", "scale"))  # arms and scores of its table
ON_DIGIT = 0.1  # least share of ink, of the darkest possible, for a pixel to count as the digit's
P_INV = 0.1  # share of the values of largest attribution that are looked at
ALPHAS = (0.0, 0.612, 6.12, 30.0, 300.0)  # the document's two, also times (32 / 224)^2, and none
BATCH = 64


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
    options.output = output
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    write_spurious(DATA)
    found = report(options)
    for seed in options.seeds:
        for arm in options.arms:
            if not any(row["arm"] == arm and row["seed"] == seed for row in found["rows"]):
                folder = run_folder(arm, seed)
                if not list(folder.glob(f"last_epoch{EPOCHS.get(arm, 10)}_*.ckpt")):
                    resume = ["--resume"] if (folder / CHECKPOINT).is_file() else []
                    words = [*command(arm, seed), "--seed", str(seed), "--output-dir", str(folder), *COMMON, *resume]
                    done(cli.main_main(words), "main.py")
                found["rows"].append({"arm": arm, "seed": seed, **measured(arm, folder)})
                files.write_json(output, found)
        if not any(row["seed"] == seed for row in found["statistics"]):
            found["statistics"] += [{"seed": seed, **row} for row in restated(run_folder("base", seed))]
            files.write_json(output, found)
    print(tables(found))
    return 0


def report(options: argparse.Namespace) -> dict[str, Any]:
    """What --output holds of the same settings, to go on with; else nothing measured yet."""
    commands = {arm: " ".join(["main.py", *command(arm, 0)]) for arm in ARMS}
    data = {**vars(Settings()), "backgrounds": list(BACKGROUNDS)}
    setting = {"network": NETWORK, "data": data, "commands": commands}
    found: dict[str, Any] = {"setting": setting, "rows": [], "statistics": []}
    if options.output.is_file():
        there = files.read_json(options.output)
        if there["setting"] != setting:
            raise InputError(f"{options.output} was made with other settings. Delete it or name another file.")
        found |= there
    return found | {"hardware": runs.hardware(resolve_device("cpu")), "versions": runs.versions()}


def run_folder(arm: str, seed: int) -> Path:
    """Of one training; eval_ood.py takes all runs s* of a root, so each has a root of its own."""
    return Path("runs") / f"{arm}_{seed}" / f"s{seed}"


def command(arm: str, seed: int) -> list[str]:
    """What main.py is told beside the images and the seed."""
    plain = arm in PLAIN
    names = ("lenet", "baseline") if plain else ("ascood_net", "train_ascood")
    backbone = "--network." if plain else "--network.backbone."
    start = run_folder("base", seed) / BEST
    rate = BASE_RATE if arm == "base" else RATE
    return [
        *("--config", f"configs/networks/{names[0]}.yml", f"configs/pipelines/train/{names[1]}.yml"),
        *("configs/preprocessors/ascood_preprocessor.yml", f"{backbone}name", NETWORK),
        *(() if arm == "base" else (f"{backbone}pretrained", "True", f"{backbone}checkpoint", str(start))),
        *("--preprocessor.name", "common"),  # shifts without a mirror: a mirrored digit is none
        *("--dataset.train.batch_size", str(BATCH), "--optimizer.lr", str(rate)),
        *("--optimizer.num_epochs", str(EPOCHS.get(arm, 10)), *ARMS[arm]),
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
    in the image: what values drawn at random would give.
    """
    network = opened(folder, wrapper)
    part = id_part("test", Settings())
    images, labels = normalised(part)
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


def restated(folder: Path) -> list[dict[str, float]]:
    """What outliers in the batch do through batch norm alone: ID accuracy of `base` with other running statistics.

    The network goes once over the training images with an outlier beside each, in training mode and without learning.
    `moved` is how far the outliers' chosen values are moved on average; from black to white it is 2.
    """
    base = opened(folder, None)
    (images, labels), (test, wanted) = (normalised(id_part(split, Settings())) for split in ("train", "test"))
    rows = []
    for alpha in ALPHAS:
        network, moved = copy.deepcopy(base), []
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        for chosen in order[: len(order) // BATCH * BATCH].split(BATCH):
            x = images[chosen]
            outliers = gradient_outliers(x, saliency(base, x, labels[chosen]), P_INV, alpha)
            moved.append((outliers - x).abs().mean().item() / P_INV)
            with torch.no_grad(), mode(network, training=True):
                network(torch.cat([x, outliers]))
        accuracy = predicted(network, test).eq(wanted).double().mean().item()
        rows.append({"alpha": alpha, "moved": float(np.mean(moved)), "id_accuracy": accuracy})
    return rows


def opened(folder: Path, wrapper: str | None) -> nn.Module:
    """The best weights of a run, in evaluation mode."""
    network = open_run(folder / BEST, None, wrapper, make_suite(f"folder:{DATA}", None), torch.device("cpu"))
    return network.eval()


def normalised(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as the network sees them, from -1 to 1, and their labels."""
    images = torch.from_numpy(part.images).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in normalisation("unknown"))
    return (images - mean) / std, torch.from_numpy(part.labels)


@torch.no_grad()
def predicted(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Classes of normalised images."""
    network.eval()
    return torch.cat([network(chunk).argmax(1) for chunk in images.split(200)])


def tables(found: dict[str, Any]) -> str:
    """AUROC and fpr95 by OOD set and score, and what the networks see; in %, mean over the seeds and their range."""
    arms = {arm: [row for row in found["rows"] if row["arm"] == arm] for arm in ARMS}
    arms = {arm: rows for arm, rows in arms.items() if rows}
    shown = {arm: rows for arm, rows in arms.items() if arm in README[0]}
    lines = ["| OOD | score | " + " | ".join(SHOWN[arm] for arm in shown) + " |", "|---" * (2 + len(shown)) + "|"]
    for label, names in (*((name, (name,)) for name in SPURIOUS), ("conventional", CONVENTIONAL)):
        for score in README[1]:
            cells = [" / ".join(_cell(_mean_of(rows, score, names, m)) for m in METRICS) for rows in shown.values()]
            lines.append(f"| {label} | `{score}` | {' | '.join(cells)} |")
    keys = ("id_accuracy", "accuracy_own_background", "accuracy_other_background", "on_digit", "area")
    head = ("ID accuracy", "on its own background", "on the other", "largest 10 % of \\|G\\| on the digit", "its area")
    lines += ["", f"| training | {' | '.join(head)} |", "|---" * (1 + len(keys)) + "|"]
    for arm, rows in arms.items():
        lines.append(f"| {SHOWN[arm]} | {' | '.join(_cell([row[key] for row in rows]) for key in keys)} |")
    lines += ["", "| alpha | moved by | ID accuracy |", "|---|---|---|"]
    for alpha in ALPHAS:
        rows = [row for row in found["statistics"] if row["alpha"] == alpha]
        moved = np.mean([row["moved"] for row in rows])
        lines.append(f"| {alpha:g} | {moved:.2f} | {_cell([row['id_accuracy'] for row in rows])} |")
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

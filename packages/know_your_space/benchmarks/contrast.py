"""Why chest X-rays of high contrast look like training images to a calibrated detector: one thing left out at a time.

    python benchmarks/contrast.py --data DIR --work DIR --output results/contrast.json [--seeds 3] [--epochs 5]

Every arm trains on PneumoniaMNIST by the training command and is scored on the chest X-rays of two other sources, as
they are and with the contrast and mean brightness of the ID test images, and on the ID test images themselves at the
contrast of MedNIST. DIR as in `medical.py`. Finished runs in --work are taken as they are. `--table FILE` prints.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from know_your_space.data import paths
from know_your_space.data.options import DataOptions
from know_your_space.data.parts import load_parts
from know_your_space.networks import WideResNet
from know_your_space.scores import logits_of
from medical import ID, SETS, run, unpacked
from ood_shared import checkpoints, files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.datasets import load_any_size, resize
from ood_shared.flags import positive_int
from ood_shared.metrics import evaluate
from ood_shared.scores import energy
from torch import Tensor

PAPER = ("--augmix", "--rand_conv")
ARMS = {
    "paper's protocol": PAPER,
    "without random convolution": ("--augmix",),
    "without margin loss": (*PAPER, "--beta1", "0"),
    "contrast of outliers x 1/3 to 3": (*PAPER, "--outlier_contrast", "3"),
    "no outliers at all": ("--inlier_space", "none", "--outlier_space", "none"),
    "batch norm of ID images alone": (*PAPER, "--separate_bn"),
}
SHOWN = {"MedNIST CXR": "MedNIST", "chest X-rays": "NIH"}
LAYERS, WIDEN, SIDE = 10, 1, 28


def main() -> int:
    parser = Parser(prog="contrast.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the archives")
    parser.add_argument("--work", type=Path, help="folder for runs and unpacked images")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--seeds", type=positive_int, default=3)
    parser.add_argument("--epochs", type=positive_int, default=5)
    parser.add_argument("--table", type=Path, help="print the table of this file and end")
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> int:
    if options.table is not None:
        print(table(files.read_json(options.table)))
        return 0
    if None in (options.data, options.work, options.output):
        print("contrast.py: error: --data, --work and --output are needed.", file=sys.stderr)
        return 2
    sets = benchmark(options)
    report: dict[str, Any] = {
        "id": ID,
        "settings": {"seeds": options.seeds, "epochs": options.epochs, "network": f"WRN-{LAYERS}-{WIDEN}"},
        "flags": ARMS,
        "contrast": {name: round(float(deviation(images).mean()), 1) for name, images in sets.items()},
        "rows": [],
        "versions": runs.versions(),
    }
    for seed in range(options.seeds):
        for number, (arm, flags) in enumerate(ARMS.items()):
            report["rows"].append(
                {"arm": arm, "seed": seed, **scored(options, f"arm{number}_{seed}", flags, seed, sets)}
            )
            files.write_json(options.output, report)
    print(table(report))
    return 0


def benchmark(options: argparse.Namespace) -> dict[str, Tensor]:
    """uint8 (n, 3, 28, 28) by name, the ID test images first."""
    part = load_parts(ID, ("test",), DataOptions(str(options.data)))["test"].images
    sets = {"ID": part}
    wanted = deviation(part).mean()
    for name, short in SHOWN.items():
        found = load_any_size(str(unpacked(options, *SETS[name])), "test", None, SIDE)
        images = resize(found.images, (SIDE, SIDE), channels=3)
        sets[short] = images
        sets[f"{short}, contrast of ID"] = with_contrast(images, wanted, part.float().mean())
    sets["ID, contrast of MedNIST"] = with_contrast(part, deviation(sets["MedNIST"]).mean(), None)
    return sets


def deviation(images: Tensor) -> Tensor:
    """Standard deviation of the pixels inside each image, (n,)."""
    return images.float().flatten(1).std(dim=1)


def with_contrast(images: Tensor, wanted: Tensor, mean: Tensor | None) -> Tensor:
    """Each image stretched about its mean to one deviation, and moved to one mean unless that is None."""
    own = images.float().mean(dim=(1, 2, 3), keepdim=True)
    stretched = (images.float() - own) * (wanted / deviation(images).clamp(min=1.0))[:, None, None, None]
    return (stretched + (own if mean is None else mean)).round().clamp(0, 255).to(torch.uint8)


def scored(
    options: argparse.Namespace, name: str, flags: tuple[str, ...], seed: int, sets: dict[str, Tensor]
) -> dict[str, Any]:
    """Train one arm; AUROC of every set against the ID test images, and the energy's rank correlation with contrast."""
    run(
        *("train", "--in_dataset", ID, "--data_dir", str(options.data), "--output-dir", str(options.work), "--dist"),
        *("--layers", str(LAYERS), "--widen-factor", str(WIDEN), "--epochs", str(options.epochs)),
        *("--seed", str(seed), "--ckpt_name", name, *flags),
    )
    n_classes = 2
    network = WideResNet(n_classes, LAYERS, WIDEN, 0.3)
    file = paths.checkpoint_path(options.work, "wrn", ID, name, -20.0, -7.0, 1.0, True)
    checkpoints.load_weights(network, checkpoints.load(file)["state_dict"], file)
    network.eval()
    scores = {word: energy(logits_of(network, images)).double().numpy() for word, images in sets.items()}
    against = scores.pop("ID")
    ranks = [np.argsort(np.argsort(values)) for values in (against, deviation(sets["ID"]).numpy())]
    return {
        "auroc": {word: evaluate(against, values)["auroc"] for word, values in scores.items()},
        "correlation": float(np.corrcoef(*ranks)[0, 1]),
    }


def table(report: dict[str, Any]) -> str:
    """AUROC in %, mean over the seeds and their range."""
    names = list(report["rows"][0]["auroc"])
    lines = ["| trained | " + " | ".join(names) + " | energy ~ contrast |", "|---|" + "---|" * (len(names) + 1)]
    for arm in report["flags"]:
        rows = [row for row in report["rows"] if row["arm"] == arm]
        cells = [_cell([100 * row["auroc"][name] for row in rows], 1) for name in names]
        lines.append(f"| {arm} | {' | '.join(cells)} | {_cell([row['correlation'] for row in rows], 2)} |")
    return "\n".join(lines)


def _cell(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())

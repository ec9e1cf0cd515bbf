"""CIFAR-10 on a CPU: cross-entropy against ASCOOD under the same scores, from the commands of the document, shortened.

    python benchmarks/compare_cifar10.py --data FOLDER --work DIR [--seeds 0 1] [--epochs 15] [--per-class 1000]

FOLDER holds `cifar10_imagefolder.tar.gz`, `ood32_tinyimagenet.tar.gz`, `ood32_textures.tar.gz` and
`ood32_scenes.tar.gz` (ImageFolder trees of 32x32 images, all coded as the same kind of JPEG, so that no detector can go
by the coding). They are unpacked below DIR and listed as OpenOOD lists its sets; then main.py and eval_ood.py run as a
user would call them, and the numbers of all runs go to results/ascood_cifar10.json, the README's table beside --output.

Shortened: ResNet-18 with a quarter of the channels or `--network lenet`, a part of the images of each class, and fewer
epochs than the paper's 100. A run that is finished is not trained again; one that was stopped goes on.
"""

import argparse
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import yaml
from ascood import cli
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.process import PRECISIONS
from ood_shared.results.record import read_result
from ood_shared.runs import CHECKPOINT

PACKAGE = Path(__file__).resolve().parents[1]
SCORES = ("msp", "odin", "iodin", "ebo", "knn", "scale")
OUTLIERS = {"tinyimagenet": "near", "textures": "far", "scenes": "far"}
VAL_PER_CLASS, OOD_VAL = 100, 400  # ID images of each class, and Tiny-ImageNet images, kept for the search
COMMON = ["--merge_option", "merge", "--num_workers", "0", "--num_gpus", "0"]


def main() -> int:
    parser = Parser(prog="compare_cifar10.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the four archives")
    parser.add_argument("--work", type=Path, required=True, help="folder for unpacked data and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--methods", nargs="+", default=["base", "ascood"], choices=("base", "ascood"))
    parser.add_argument("--network", default="resnet18_32x32_narrow", help="backbone; lenet takes a tenth of the time")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--per-class", type=int, default=1000, help="training images of each class")
    parser.add_argument("--test-per-class", type=int, default=1000, help="ID test images of each class")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the passes while training")
    parser.add_argument("--output", type=Path, default=PACKAGE / "results" / "ascood_cifar10.json")
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> int:
    """Train what is missing, evaluate all, write the tables."""
    data, work, output = options.data.resolve(), options.work.resolve(), options.output.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    prepare(data, Path("data"), options.per_class, options.test_per_class)
    for method in options.methods:
        for seed in options.seeds:
            folder = root_of(method, options) / f"s{seed}"
            if not list(folder.glob(f"last_epoch{options.epochs}_*.ckpt")):
                resume = ["--resume"] if (folder / CHECKPOINT).is_file() else []
                done(cli.main_main([*command(method, options), "--seed", str(seed), *COMMON, *resume]), "main.py")
        wrapper = ["--wrapper-net", "ASCOODNet"] if method == "ascood" else []
        words = ["--id-data", "configs/datasets/cifar10/local.yml", "--root", str(root_of(method, options))]
        scores = ["--postprocessor", ",".join(SCORES), "--save-csv", "--save-score", "--device", "cpu"]
        done(cli.eval_main([*words, *wrapper, *scores, "--num-workers", "0"]), "eval_ood.py")
    report(options, output)
    return 0


def command(method: str, options: argparse.Namespace) -> list[str]:
    """The document's CIFAR-10 command (scripts/ood/ascood/cifar10_train_ascood.sh), and the same for cross-entropy."""
    files_of = ["--config", "configs/datasets/cifar10/cifar10.yml"]
    if method == "ascood":
        files_of += ["configs/networks/ascood_net.yml", "configs/pipelines/train/train_ascood.yml"]
        own = ["--network.backbone.name", options.network, "--trainer.trainer_args.ood_type", "shuffle"]
        own += ["--trainer.trainer_args.p_inv", "0.15"]
    else:
        files_of += [f"configs/networks/{options.network}.yml", "configs/pipelines/train/baseline.yml"]
        own = []
    return [
        *files_of,
        "configs/preprocessors/ascood_preprocessor.yml",
        *own,
        "--optimizer.num_epochs",
        str(options.epochs),
        *(["--precision", options.precision] if options.precision != "fp32" else []),
    ]


def root_of(method: str, options: argparse.Namespace) -> Path:
    """Where the command of the method writes its runs."""
    if method == "base":
        return Path(f"results/cifar10_{options.network}_base_e{options.epochs}_lr0.1_default")
    return Path(
        f"results/cifar10_ascood_net_ascood_e{options.epochs}_lr0.1_w1.0_p0.15_otype_shuffle_nmg_30.0_300.0_default"
    )


def prepare(archives: Path, data: Path, per_class: int, test_per_class: int) -> None:
    """Unpack, and write image lists and the yml file of the sets that are there."""
    images = data / "images_classic"
    for name, archive in (
        ("cifar10", "cifar10_imagefolder"),
        *((name, f"ood32_{name}") for name in OUTLIERS),
    ):
        if not (images / name).is_dir():
            if not (archives / f"{archive}.tar.gz").is_file():
                raise InputError(f"--data {archives} lacks {archive}.tar.gz.")
            with tarfile.open(archives / f"{archive}.tar.gz") as tar:
                tar.extractall(images / name, filter="data")
    lists = data / "benchmark_imglist" / "cifar10"
    classes = sorted(path.name for path in (images / "cifar10" / "train").iterdir())
    rows: dict[str, list[str]] = {"train_cifar10": [], "val_cifar10": [], "test_cifar10": []}
    for label, name in enumerate(classes):
        of_train = sorted((images / "cifar10" / "train" / name).iterdir())
        if per_class > len(of_train) - VAL_PER_CLASS:
            raise InputError(
                f"--per-class {per_class}: {name} has {len(of_train)} training images, {VAL_PER_CLASS} of them for "
                f"validation; pass at most {len(of_train) - VAL_PER_CLASS}."
            )
        for split, chosen in (
            ("train_cifar10", of_train[:per_class]),
            ("val_cifar10", of_train[-VAL_PER_CLASS:]),
            ("test_cifar10", sorted((images / "cifar10" / "test" / name).iterdir())[:test_per_class]),
        ):
            rows[split] += [f"{path.relative_to(images).as_posix()} {label}" for path in chosen]
    for name in OUTLIERS:
        found = sorted((images / name).rglob("*.jpg"))
        if name == "tinyimagenet":
            order = np.random.default_rng(0).permutation(len(found))
            rows["val_tin"] = [_outlier(found[at], images) for at in sorted(order[:OOD_VAL])]
            found = [found[at] for at in sorted(order[OOD_VAL:])]
        rows[f"test_{name}"] = [_outlier(path, images) for path in found]
    for name, lines in rows.items():
        files.write_text(lists / f"{name}.txt", "\n".join(lines) + "\n")

    def entry(name: str) -> dict[str, str]:
        return {"data_dir": "./data/images_classic/", "imglist_pth": f"./data/benchmark_imglist/cifar10/{name}.txt"}

    outliers: dict[str, object] = {
        "name": "cifar10_local_ood",
        "dataset_class": "ImglistDataset",
        "val": entry("val_tin"),
    }
    for part in ("near", "far"):
        names = [name for name, of in OUTLIERS.items() if of == part]
        outliers[f"{part}ood"] = {"datasets": names, **{name: entry(f"test_{name}") for name in names}}
    block = yaml.safe_load((PACKAGE / "configs/datasets/cifar10/cifar10.yml").read_text())
    files.write_text(
        Path("configs/datasets/cifar10/local.yml"), yaml.safe_dump({**block, "ood_dataset": outliers}, sort_keys=False)
    )


def report(options: argparse.Namespace, output: Path) -> None:
    """Mean over the seeds of every method and score, from the result.json files of all runs that are there."""
    table = {}
    for method in ("base", "ascood"):
        for score in SCORES:
            found = [
                read_result(path.parent)[0]
                for path in sorted(root_of(method, options).glob(f"s*/results/{score}/result.json"))
            ]
            if not found:
                continue
            accuracy = [100 * result["id_accuracy"]["value"] for result in found]
            table[f"{method} + {score}"] = {
                "seeds": len(found),
                "id_accuracy": accuracy,
                **{
                    name: {
                        metric: [100 * result["metrics"][name][metric]["value"] for result in found]
                        for metric in ("fpr95", "auroc")
                    }
                    for name in OUTLIERS
                },
            }
    setting = {
        "network": options.network,
        "train_images_per_class": options.per_class,
        "epochs": options.epochs,
        "id_test_images_per_class": options.test_per_class,
        "commands": {method: " ".join(["main.py", *command(method, options)]) for method in ("base", "ascood")},
    }
    where = {"hardware": runs.hardware(resolve_device("cpu")), "versions": runs.versions()}
    files.write_json(output, {"setting": setting, "table": table, **where})
    files.write_text(output.with_suffix(".md"), as_markdown(json.loads(output.read_text())["table"]))
    print(output.with_suffix(".md").read_text())


def as_markdown(table: dict[str, dict[str, object]]) -> str:
    """FPR@95 / AUROC in percent, mean over the seeds, with the half range in brackets."""
    lines = [
        "| method + score | seeds | ID accuracy | " + " | ".join(OUTLIERS) + " |",
        "|---" * (3 + len(OUTLIERS)) + "|",
    ]
    for name, row in table.items():
        cells = []
        for outlier in OUTLIERS:
            pair = row[outlier]
            assert isinstance(pair, dict)
            cells.append(" / ".join(_mean(pair[metric]) for metric in ("fpr95", "auroc")))
        accuracy = row["id_accuracy"]
        assert isinstance(accuracy, list)
        lines.append(f"| {name} | {row['seeds']} | {_mean(accuracy)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean(values: list[float]) -> str:
    spread = (max(values) - min(values)) / 2
    return f"{np.mean(values):.2f}" + (f" (±{spread:.2f})" if len(values) > 1 else "")


def _outlier(path: Path, images: Path) -> str:
    return f"{path.relative_to(images).as_posix()} -1"


def done(status: int, name: str) -> None:
    """Stop where a command failed; it has said why."""
    if status:
        raise InputError(f"{name} ended with status {status}.")


if __name__ == "__main__":
    sys.exit(main())

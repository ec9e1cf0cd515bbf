"""The authors' own procedure (`--mode paper`) on one data set: its commands, several classifiers, one JSON file.

    python benchmarks/paper_mode.py --id fmnist --data-dir DIR --work DIR --output results/paper_fmnist.json

One decoder, which stops by itself, and for each seed a classifier with outliers of its own; each is tested at the
epochs of `--test-epochs` by both scores. What is in the work folder already is not made again, and a command that was
stopped goes on where it was. Values that no flag sets are the authors' for this data set. Nothing is chosen here.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.errors import InputError
from ood_shared.flags import positive_int
from oodgen.checkpoints import CLASSIFIER_FOLDERS
from oodgen.cli import main as oodgen

OTHER = {"mnist": "fmnist", "fmnist": "mnist"}
NOISE = ("gaussian", "uniform", "sphere")
SCORES = ("one_minus_ood", "max_in")
METRICS = ("auroc", "fpr95_id_positive")
DECODER_SEED = 1


def main() -> int:
    parser = Parser(prog="paper_mode.py", description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="fmnist", choices=sorted(OTHER))
    parser.add_argument("--classes", default="all", help="as of the commands, `0-4`")
    parser.add_argument("--train-images", type=positive_int, help="of the classifier: the first of each class (all)")
    parser.add_argument("--epochs", type=positive_int, help="of each classifier (those of the authors)")
    parser.add_argument("--test-epochs", default="", help="numbers of epochs (the last)")
    parser.add_argument("--lr", type=float, help="of each classifier (that of the authors)")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seeds", default="1,2,3", help="of the classifiers")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="folder of images and runs")
    parser.add_argument("--output", required=True, type=Path)
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> None:
    work = options.work.resolve()
    images = work / options.id
    others = [work / "other" / OTHER[options.id], *NOISE]
    ways = f"--mode paper --classes {options.classes}".split()
    for name, folder in ((options.id, images), (OTHER[options.id], others[0])):
        if not (folder / "test").is_dir():  # made last
            run("prepare", name, folder, "--data-dir", options.data_dir)
    decoder = work / "decoder"
    trained = ("--precision", options.precision, "--resume")
    run("train_vae", "--in_data", images, "--save_path", decoder, *ways, "--seed", DECODER_SEED, *trained)
    if options.train_images is not None:
        images = first_of_each_class(images, work / "part" / options.id, options.train_images)
    if not (images / "ood" / "test").is_dir():
        run("gen_ood", "--data", images, "--model_path", decoder, "--dataset", "test", *ways, "--seed", DECODER_SEED)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds.split(","):
        rows += one_classifier(options, images, others, decoder, ways, seed)
        report = {
            "settings": {key: getattr(options, key) for key in ("id", "classes", "train_images", "epochs", "lr")},
            "precision": options.precision,
            "decoder": {"seed": DECODER_SEED, "epochs": len(runs.read_metrics(decoder / "vae"))},
            "versions": runs.versions(),
            "convention": "higher = more OOD; fpr95_id_positive: share of OOD accepted with 95 % of ID",
            "rows": rows,
        }
        files.write_json(options.output, report)


def one_classifier(
    options: argparse.Namespace, images: Path, others: list[Any], decoder: Path, ways: list[str], seed: str
) -> list[dict[str, Any]]:
    """Train it, and a row for each epoch that is tested."""
    folder = decoder.with_name(f"seed_{seed}")
    if not (folder / "vae").is_dir():
        shutil.copytree(decoder / "vae", folder / "vae")
    words = ["--in_data", images, *ways, "--seed", seed]
    asked = {"--epochs": options.epochs, "--lr": options.lr, "--precision": options.precision}
    given = [word for flag, value in asked.items() if value is not None for word in (flag, value)]
    run("train_classi", *words, "--save_path", folder, *given, "--resume")
    tested = ("--out_data", ",".join(map(str, others)), "--model_path", folder, "--save_path", folder / "tested")
    last = len(runs.read_metrics(folder / CLASSIFIER_FOLDERS[0]))
    rows = []
    for epoch in map(int, options.test_epochs.split(",") if options.test_epochs else [last]):
        row: dict[str, Any] = {"seed": int(seed), "epoch": epoch}
        for score in SCORES:
            run("test", *words, *tested, "--model_epoch", epoch, "--score", score)
            found = files.read_json(folder / "tested" / "result.json")
            row["id_accuracy"] = found["id_accuracy"]["value"]
            for name, cells in found["metrics"].items():
                row.setdefault(Path(name).name, {})[score] = {key: cells[key] for key in METRICS}
        rows.append(row)
    return rows


def first_of_each_class(images: Path, part: Path, count: int) -> Path:
    """A tree of the same test images and as many training images of each class, by the order of their names."""
    if part.is_dir():
        return part
    classes = sorted(path for path in (images / "train").iterdir())
    made = part.with_name("part.making")
    shutil.rmtree(made, ignore_errors=True)
    for folder in classes:
        (made / "train" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[: count // len(classes)]:
            shutil.copy(path, made / "train" / folder.name)
    shutil.copytree(images / "test", made / "test")
    made.rename(part)
    return part


def run(*words: Any) -> None:
    """A command of the package; its lines go where they go."""
    status = oodgen([str(word) for word in words])
    if status:
        raise InputError(f"`{' '.join(map(str, words))}` ended with {status}; see above.")


if __name__ == "__main__":
    sys.exit(main())

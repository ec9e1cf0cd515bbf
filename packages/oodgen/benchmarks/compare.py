"""The paper's ablation and five post-hoc detectors on real images, several seeds, one JSON file.

    python benchmarks/compare.py --id mnist --classes all --data-dir DIR --output results/compare_mnist_all.json

Distances of type 1 are those of the authors' experiment with these classes, unless flags say otherwise. Intervals are
bootstrap intervals of 300 resamples. A seed that the output has already, of the same settings, is not trained again.

Arms of the ablation (the same VAE, network, optimizer and number of ID images for all):

    none           n-class network, score: 1 - largest probability
    type1          n+1 classes, outliers of type 1 in the null space of the decoder's Jacobian
    type1_rref     the same with the authors' directions (`--direction rref`): a few pixels of the null space
    type1_noise    the same with directions anywhere in pixel space: plain pixel noise of the same lengths
    type2          outliers of type 2
    both           type 1 and type 2 (the method), score p_n: the probability of the outlier class
    both_max_in    the same network, score: minus the largest in-distribution probability
    both_rref, both_rref_max_in    the same with the authors' directions

Beside them, on the n-class network: MSP, energy, kNN, Mahalanobis and ViM of pytorch-ood.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.datasets import load
from ood_shared.devices import resolve_device
from ood_shared.metrics import accuracy, evaluate_with_intervals
from oodgen.data.folders import Pixels, as_pixels
from oodgen.data.outlier_sets import load_outlier_set
from oodgen.defaults import class_range, experiment
from oodgen.outliers import GenerationSettings, make_outliers
from oodgen.scores import logits_of, ood_score
from oodgen.train import ClassifierSettings, Compute, VaeSettings, train_classifier, train_vae
from pytorch_ood.detector import KNN, EnergyBased, Mahalanobis, MaxSoftmax, ViM

RESAMPLES = 300
OTHER = {"mnist": "fmnist", "fmnist": "mnist"}
METRICS = ("auroc", "aupr_out", "aupr_in", "fpr95", "fpr95_id_positive", "detection_error")


def main() -> int:
    parser = Parser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="mnist", choices=sorted(OTHER))
    parser.add_argument("--classes", default="all")
    parser.add_argument("--train-images", type=int, default=10_000, help="random part of the training split")
    parser.add_argument("--vae-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8, help="of every classifier")
    parser.add_argument("--lr", type=float, default=0.5, help="of every classifier (Adadelta)")
    parser.add_argument("--ood-weight", type=float, default=0.1)
    parser.add_argument("--eps-min", type=float, default=None)
    parser.add_argument("--eps-max", type=float, default=None)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", required=True, type=Path)
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> None:
    compute = Compute(resolve_device(options.device))
    authors = experiment(options.id, options.classes)
    options.eps_min = authors.eps_min if options.eps_min is None else options.eps_min
    options.eps_max = authors.eps_max if options.eps_max is None else options.eps_max
    seeds = [int(word) for word in options.seeds.split(",")]
    settings = {key: str(value) for key, value in vars(options).items() if key not in {"data_dir", "output"}}
    rows = finished_rows(options.output, settings)
    for seed in sorted(set(seeds) - {found["seed"] for found in rows}):
        rows += one_seed(options, seed, compute)
        report = {
            "settings": settings,
            "hardware": runs.hardware(compute.device),
            "versions": runs.versions(),
            "convention": "higher = more OOD; fpr95: 95 % of OOD caught, share of ID flagged",
            "rows": rows,
            "summary": summarise(rows),
        }
        files.write_json(options.output, report)
    for (arm, ood), cells in sorted(grouped(rows).items(), key=lambda item: (item[0][1], item[0][0])):
        values = [cell["metrics"]["auroc"]["value"] for cell in cells]
        print(f"{ood:<10} {arm:<12} AUROC {np.mean(values):.4f}  range {min(values):.4f} to {max(values):.4f}")


def finished_rows(output: Path, settings: dict[str, str]) -> list[dict]:
    """The rows of an earlier, unfinished call with these settings, whatever its seeds."""
    if not output.is_file():
        return []
    before = files.read_json(output)
    same = all(before["settings"].get(key) == value for key, value in settings.items() if key != "seeds")
    return list(before["rows"]) if same else []


def one_seed(options: argparse.Namespace, seed: int, compute: Compute) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    train, test, novel = id_data(options, generator)
    names = [OTHER[options.id], "gaussian", "uniform", "sphere"]
    outliers = [load_outlier_set(name, train.images, generator, options.data_dir) for name in names]
    sets = {found.name: found.images for found in outliers} | ({"novel": novel.images} if novel else {})
    n = len(train.classes)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        started = time.perf_counter()
        vae_settings = VaeSettings(n, epochs=options.vae_epochs, save_every=options.vae_epochs, seed=seed)
        with quiet():
            vae, history = train_vae(train, test, vae_settings, work / "vae", compute)
        say(options, seed, f"VAE: validation loss {history[-1]['vali_loss']:.1f}", started)

        generation = GenerationSettings(eps_min=options.eps_min, eps_max=options.eps_max)
        jacobian = make_outliers(vae, train, train, generation, generator)
        noise = make_outliers(vae, train, train, replace(generation, null_space="none"), generator)
        echelon = make_outliers(vae, train, train, replace(generation, direction="rref"), generator)
        pools = {
            "none": None,
            "type1": jacobian.of_type(1),
            "type1_rref": echelon.of_type(1),
            "type1_noise": noise.of_type(1),
            "type2": jacobian.of_type(2),
            "both": jacobian.images,
            "both_rref": echelon.images,
        }
        for arm, pool in pools.items():
            started = time.perf_counter()
            # without outliers the last of the n outputs is an ordinary class
            settings = ClassifierSettings(
                n if pool is not None else n - 1,
                epochs=options.epochs,
                save_every=options.epochs,
                lr=options.lr,
                ood_weight=options.ood_weight if pool is not None else 1.0,
                seed=seed,
            )
            data = train if pool is None else train.with_outliers(pool)
            with quiet():
                network, _ = train_classifier(data, test, settings, work / arm, compute)
            seconds = time.perf_counter() - started
            logits = {name: logits_of(network, images, 0, 1) for name, images in {"id": test.images, **sets}.items()}
            outputs = logits["id"] if pool is None else logits["id"][:, :-1]
            share = accuracy(outputs.argmax(1), test.labels)
            for name in sets:
                if pool is None:
                    scores = [(1 - logits[key].double().softmax(1).amax(1)).numpy() for key in ("id", name)]
                else:
                    scores = [ood_score(logits[key]).numpy() for key in ("id", name)]
                rows.append(row(arm, name, seed, scores, share, seconds))
                if arm in ("both", "both_rref"):
                    scores = [ood_score(logits[key], "max_in").numpy() for key in ("id", name)]
                    rows.append(row(f"{arm}_max_in", name, seed, scores, share, seconds))
            say(options, seed, f"{arm}: accuracy {share:.4f}", started)
            if pool is None:
                rows += post_hoc(network, train, test, sets, seed, share)
    return rows


def post_hoc(network, train: Pixels, test: Pixels, sets: dict, seed: int, share: float) -> list[dict]:
    """The detectors of pytorch-ood on features and logits of the n-class network; their scores also rise with OOD."""
    images = {"train": train.images, "id": test.images, **sets}
    features = {name: features_of(network, pixels) for name, pixels in images.items()}
    weight, bias = network.fc2.weight.detach().cpu(), network.fc2.bias.detach().cpu()
    logits = {name: value @ weight.T + bias for name, value in features.items()}
    fitted = {
        "knn": KNN(None).fit_features(features["train"], train.labels),
        "mahalanobis": Mahalanobis(None).fit_features(features["train"], train.labels),
        "vim": ViM(None, d=features["train"].shape[1] // 2, w=weight, b=bias).fit_features(
            features["train"], train.labels
        ),
    }
    rows = []
    for name in sets:
        for method, score in (("msp", MaxSoftmax.score), ("energy", EnergyBased.score)):
            rows.append(row(method, name, seed, [score(logits[key]).numpy() for key in ("id", name)], share, 0.0))
        for method, detector in fitted.items():
            scores = [np.asarray(detector.predict_features(features[key])) for key in ("id", name)]
            rows.append(row(method, name, seed, scores, share, 0.0))
    return rows


def features_of(network, images: torch.Tensor) -> torch.Tensor:
    device = next(network.parameters()).device
    with torch.no_grad():
        parts = [
            network.features((part.float() / 255 if part.dtype == torch.uint8 else part).to(device)).cpu()
            for part in images.split(1000)
        ]
    return torch.cat(parts)


def id_data(options: argparse.Namespace, generator: torch.Generator) -> tuple[Pixels, Pixels, Pixels | None]:
    train, test = (as_pixels(load(options.id, split, options.data_dir)) for split in ("train", "test"))
    kept = class_range(options.classes, len(train.classes))
    inside = [(p.labels >= kept.start) & (p.labels < kept.stop) for p in (train, test)]
    novel = test.select(~inside[1]) if not inside[1].all() else None
    train, test = (
        Pixels(p.images[chosen], p.labels[chosen] - kept.start, tuple(p.classes[i] for i in kept))
        for p, chosen in zip((train, test), inside, strict=True)
    )
    picked = torch.randperm(len(train), generator=generator)[: options.train_images]
    return train.select(picked), test, novel


def row(arm: str, ood: str, seed: int, scores: list[np.ndarray], share: float, seconds: float) -> dict:
    found = evaluate_with_intervals(*scores, np.random.default_rng(seed), RESAMPLES)
    return {
        "arm": arm,
        "ood": ood,
        "seed": seed,
        "n_id": len(scores[0]),
        "n_ood": len(scores[1]),
        "id_accuracy": share,
        "train_seconds": round(seconds, 1),
        "metrics": {name: {key: round(value, 5) for key, value in found[name].items()} for name in METRICS},
    }


def grouped(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    groups: dict[tuple[str, str], list[dict]] = {}
    for found in rows:
        groups.setdefault((found["arm"], found["ood"]), []).append(found)
    return groups


def summarise(rows: list[dict]) -> list[dict]:
    """Mean over the seeds, the seeds' range, and the mean bootstrap interval of one seed."""
    summary = []
    for (arm, ood), cells in grouped(rows).items():
        entry: dict = {"arm": arm, "ood": ood, "seeds": len(cells)}
        for name in METRICS:
            values = [cell["metrics"][name]["value"] for cell in cells]
            entry[name] = {
                "mean": float(np.mean(values)),
                "least": min(values),
                "greatest": max(values),
                "low": float(np.mean([cell["metrics"][name]["low"] for cell in cells])),
                "high": float(np.mean([cell["metrics"][name]["high"] for cell in cells])),
            }
        summary.append(entry)
    return summary


def say(options: argparse.Namespace, seed: int, text: str, started: float) -> None:
    print(f"{options.id} {options.classes} seed {seed}  {text}  {time.perf_counter() - started:.0f} s", flush=True)


def quiet() -> contextlib.redirect_stdout:
    return contextlib.redirect_stdout(io.StringIO())


if __name__ == "__main__":
    sys.exit(main())

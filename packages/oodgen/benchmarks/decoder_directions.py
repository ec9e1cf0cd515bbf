"""Three things that could decide whether digits are found on Fashion-MNIST, each with and without: one JSON file.

    python benchmarks/decoder_directions.py --data-dir DIR --output results/decoder_directions.json

The decoder trained for 10 or 100 epochs; directions of type 1 uniform in the null space of the Jacobian (`normal`) or
the authors' (`rref`); without or with the decoder's reconstructions of the training images as in-distribution. All
eight have the same images and the same classifier, the documented one with Adadelta at 0.5, outlier weight 0.1.

The file is written after every combination, and a run that finds it goes on after the last; weights of the VAEs are
kept in `--work`. `generated` are outliers of both types made from the test images by the combination's own decoder and
directions, `generated_other` those with its own decoder and the other directions. Nothing is chosen here.
"""

import argparse
import contextlib
import io
import sys
import time
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.datasets import load
from ood_shared.devices import resolve_device
from ood_shared.loaders import to_float
from ood_shared.metrics import accuracy, evaluate, evaluate_with_intervals
from oodgen.classifier import classifier_loss
from oodgen.data.folders import Pixels, as_pixels
from oodgen.data.outlier_sets import load_outlier_set
from oodgen.fitting import train_vae_with_restarts
from oodgen.manifold import exact_inference
from oodgen.outliers import GenerationSettings, Outliers, make_outliers
from oodgen.reconstructions import with_reconstructions
from oodgen.scores import logits_of, ood_score
from oodgen.train import ClassifierSettings, Compute, VaeSettings, train_classifier
from oodgen.vae import ConditionalVAE, elbo_loss, one_hot

RESAMPLES = 300
WATCHED = 1000  # test images whose loss is printed in training; the losses of a row are of all, after it
ID, OOD = "fmnist", ("mnist", "gaussian", "uniform", "sphere")
DIRECTIONS = ("normal", "rref")
WITH_INTERVALS = ("mnist", "generated")
SCORES = ("one_minus_ood", "max_in")
METRICS = ("auroc", "fpr95_id_positive")


def main() -> int:
    parser = Parser(prog="decoder_directions.py", description=__doc__.splitlines()[0])
    parser.add_argument("--train-images", type=int, default=10_000, help="random part of the training split")
    parser.add_argument("--vae-epochs", default="10,100", help="of the decoders that are compared")
    parser.add_argument("--epochs", type=int, default=12, help="of every classifier")
    parser.add_argument("--lr", type=float, default=0.5, help="of every classifier (Adadelta)")
    parser.add_argument("--ood-weight", type=float, default=0.1)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path("decoder_directions"), help="folder for the trained networks")
    parser.add_argument("--output", required=True, type=Path)
    return run_command(compare, parser)


def compare(options: argparse.Namespace) -> None:
    compute = Compute(resolve_device(options.device), resume=True)
    settings = {
        key: getattr(options, key) for key in ("train_images", "vae_epochs", "epochs", "lr", "ood_weight", "device")
    }
    rows = files.read_json(options.output)["rows"] if options.output.is_file() else []
    done = {_key(row) for row in rows}
    for seed, epochs in product(_integers(options.seeds), _integers(options.vae_epochs)):
        wanted = [(d, r) for d, r in product(DIRECTIONS, (False, True)) if (seed, epochs, d, r) not in done]
        if not wanted:
            continue
        for row in one_decoder(options, seed, epochs, wanted, compute):
            rows.append(row)
            report = {
                "settings": settings,
                "hardware": runs.hardware(compute.device),
                "versions": runs.versions(),
                "convention": "higher = more OOD; fpr95_id_positive: share of OOD accepted with 95 % of ID",
                "rows": rows,
            }
            files.write_json(options.output, report)


def one_decoder(
    options: argparse.Namespace, seed: int, epochs: int, wanted: list[tuple[str, bool]], compute: Compute
) -> Any:
    """A row for each combination of directions and reconstructions, as soon as it is there."""
    generator = torch.Generator().manual_seed(seed)
    train, test = (as_pixels(load(ID, split, options.data_dir)) for split in ("train", "test"))
    train = train.select(torch.randperm(len(train), generator=generator)[: options.train_images])
    sets = {name: load_outlier_set(name, train.images, generator, options.data_dir).images for name in OOD}
    folder = options.work / f"seed_{seed}_vae_{epochs}"
    settings = VaeSettings(len(train.classes), epochs=epochs, save_every=epochs, seed=seed)
    with quiet():
        vae, settings = train_vae_with_restarts(
            train, test.select(torch.arange(WATCHED)), settings, folder / "vae", compute
        )
    loss = elbo_of(vae, test)
    print(f"seed {seed}, decoder of {epochs} epochs (seed {settings.seed}): validation loss {loss:.1f}", flush=True)
    made = {d: made_outliers(vae, train, test, GenerationSettings(direction=d), seed) for d in DIRECTIONS}
    shown = {False: train, True: with_reconstructions(vae, train)}
    for direction, recon in wanted:
        started = time.perf_counter()
        chosen = ClassifierSettings(
            len(train.classes),
            epochs=options.epochs,
            save_every=options.epochs,
            lr=options.lr,
            ood_weight=options.ood_weight,
            seed=seed,
        )
        pool, own_test = made[direction]
        other = made[DIRECTIONS[1 - DIRECTIONS.index(direction)]][1]
        name = f"{direction}{'_recon' if recon else ''}"
        with quiet():
            network, _ = train_classifier(
                shown[recon].with_outliers(pool.images),
                test.select(torch.arange(WATCHED)),
                chosen,
                folder / name,
                replace(compute, resume=False),
            )
        seconds = time.perf_counter() - started
        tested = {"generated": own_test.images, "generated_other": other.images, **sets}
        tested |= {f"generated_type{kind}": own_test.of_type(kind) for kind in (1, 2)}
        logits = {key: logits_of(network, images, 0, 1) for key, images in tested.items()}
        own, mixed = logits_of(network, test.images, 0, 1), test.with_outliers(own_test.images)
        row = {
            "seed": seed,
            "vae_epochs": epochs,
            "direction": direction,
            "id_recon": recon,
            "vae_seed": settings.seed,
            "vae_validation_loss": round(loss, 3),
            "n_id": len(shown[recon]),
            "n_outliers": len(pool.images),
            "id_accuracy": round(accuracy(own[:, :-1].argmax(1), test.labels), 5),
            "id_loss": round(loss_of(own, test.labels, options.ood_weight), 5),
            "validation_loss": round(
                loss_of(torch.cat([own, logits["generated"]]), mixed.labels, options.ood_weight), 5
            ),
            "train_seconds": round(seconds, 1),
            "metrics": {
                key: {score: judged(own, value, score, seed, key in WITH_INTERVALS) for score in SCORES}
                for key, value in logits.items()
            },
            "classifier": asdict(chosen),
        }
        print(_line(row), flush=True)
        yield row


def made_outliers(
    vae: ConditionalVAE, train: Pixels, test: Pixels, settings: GenerationSettings, seed: int
) -> tuple[Outliers, Outliers]:
    """Outliers of both types from the training and from the test images; the same draws for every decoder."""
    generator = torch.Generator().manual_seed(seed + 1)
    first = make_outliers(vae, train, train, settings, generator)
    return first, make_outliers(vae, test, train, settings, generator)


def elbo_of(vae: ConditionalVAE, test: Pixels) -> float:
    """The VAE's own loss, in nats an image; latent noise from a seed of its own."""
    noise = torch.Generator().manual_seed(0)
    like = next(vae.parameters())
    total = 0.0
    with exact_inference(vae):
        for images, labels in zip(test.images.split(1000), test.labels.split(1000), strict=True):
            x = to_float(images).to(like)
            recon, mu, logvar, _ = vae(x, one_hot(labels, vae.n_classes).to(like), generator=noise)
            total += elbo_loss(recon, x, mu, logvar).item() * len(labels)
    return total / len(test)


def loss_of(logits: torch.Tensor, labels: torch.Tensor, ood_weight: float) -> float:
    """The classifier's own loss: cross-entropy in nats, weighted with `ood_weight` for outliers."""
    return classifier_loss(logits, labels, ood_weight, logits.shape[1] - 1).item()


def judged(
    id_logits: torch.Tensor, ood_logits: torch.Tensor, score: str, seed: int, intervals: bool
) -> dict[str, dict[str, float]]:
    """Metrics of a set, with their 95 % bootstrap intervals when asked for."""
    scores = [ood_score(logits, score).numpy() for logits in (id_logits, ood_logits)]
    if not intervals:
        found = evaluate(*scores)
        return {name: {"value": round(found[name], 5)} for name in METRICS}
    bounded = evaluate_with_intervals(*scores, np.random.default_rng(seed), RESAMPLES)
    return {name: {key: round(value, 5) for key, value in bounded[name].items()} for name in METRICS}


def quiet() -> contextlib.redirect_stdout:
    return contextlib.redirect_stdout(io.StringIO())


def _key(row: dict[str, Any]) -> tuple[int, int, str, bool]:
    return row["seed"], row["vae_epochs"], row["direction"], row["id_recon"]


def _integers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _line(row: dict[str, Any]) -> str:
    numbers = [
        f"{key} {row['metrics'][key][s]['auroc']['value']:.4f}" for key in ("mnist", "generated") for s in SCORES
    ]
    recon = "with" if row["id_recon"] else "without"
    return (
        f"  {row['direction']}, {recon} reconstructions: accuracy {row['id_accuracy']:.4f}  "
        + "  ".join(numbers)
        + f"  {row['train_seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

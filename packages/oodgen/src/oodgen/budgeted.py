"""What `oodgen.bench` does: train, generate, train and score within a schedule."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import torch
from ood_shared.bench.schema import write_result
from ood_shared.datasets import hold_out
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError

from oodgen.bench import Schedule
from oodgen.classifier import ood_weight_from_counts
from oodgen.data import SIDE, Pixels
from oodgen.outliers import GenerationSettings, make_outliers
from oodgen.prepare import fit_28, load_any_size
from oodgen.results import make_result, score_arrays
from oodgen.scoring import OutlierSet, logits_of, outlier_set
from oodgen.train import ClassifierSettings, Compute, VaeSettings, train_classifier, train_vae

NOVEL = "novel"
FULL_VAE_EPOCHS, FULL_CLASSIFIER_EPOCHS = 100, 200  # the documented ones
VAE_BATCH, CLASSIFIER_BATCH = 128, 256


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, generate, train, score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained networks.")
    compute = Compute(
        resolve_device(options.device), options.precision, options.compile, options.log_to, options.resume
    )
    generator = torch.Generator().manual_seed(options.seed)
    train, test, outliers = _data(options, schedule, generator)
    folder = Path(options.output_dir)

    started = time.perf_counter()
    n = len(train.classes)
    vae_epochs = _epochs(schedule.vae_steps, len(train), VAE_BATCH, FULL_VAE_EPOCHS)
    vae_settings = VaeSettings(n, epochs=vae_epochs, batch_size=VAE_BATCH, save_every=vae_epochs, seed=options.seed)
    vae, _ = train_vae(train, test, vae_settings, folder / "vae", compute)
    generation = GenerationSettings()
    made = make_outliers(vae, train, train, generation, generator)
    made_test = make_outliers(vae, test, train, generation, generator) if _has_pairs(test) else made
    epochs = _epochs(schedule.classifier_steps, len(train) + len(made.images), CLASSIFIER_BATCH, FULL_CLASSIFIER_EPOCHS)
    weight = schedule.ood_weight or ood_weight_from_counts(len(train), n, len(made.images))
    settings = ClassifierSettings(
        n,
        epochs=epochs,
        batch_size=CLASSIFIER_BATCH,
        save_every=epochs,
        lr=schedule.lr,
        ood_weight=weight,
        seed=options.seed,
    )
    mixed, mixed_test = train.with_outliers(made.images), test.with_outliers(made_test.images)
    network, history = train_classifier(mixed, mixed_test, settings, folder / "classifer", compute)
    train_seconds = time.perf_counter() - started

    started = time.perf_counter()
    id_logits = logits_of(network, test.images, settings.mean, settings.std, compute.precision)
    ood_logits = {
        found.name: logits_of(network, found.images, settings.mean, settings.std, compute.precision)
        for found in outliers
    }
    arrays = score_arrays(options.id, id_logits, test.labels, ood_logits, "one_minus_ood")
    score_seconds = time.perf_counter() - started
    steps = max(1, len(mixed) // CLASSIFIER_BATCH)
    result = make_result(
        arrays,
        seed=options.seed,
        budget=options.budget,
        config={"vae": asdict(vae_settings), "generation": asdict(generation), "classifier": asdict(settings)}
        | {"n_train": len(train), "novel_classes": options.novel_classes},
        timings={
            "train_seconds": train_seconds,
            "train_step_seconds": min(record["seconds"] for record in history) / steps,
            "score_seconds_per_1000": 1000 * score_seconds / len(arrays["scores"]),
        },
        device=compute.device,
        checkpoint=folder / "classifer" / "model.pth",
    )
    write_result(folder, result, arrays)
    for name, cells in result["metrics"].items():
        print(f"{name:<12} AUROC {cells['auroc']['value']:.4f}  FPR95 {cells['fpr95']['value']:.4f}")


def _data(
    options: argparse.Namespace, schedule: Schedule, generator: torch.Generator
) -> tuple[Pixels, Pixels, list[OutlierSet]]:
    """Training and test images of the ID set, and the outlier sets, all 28 x 28 grey and cut to the budget."""
    train, test = (load_any_size(options.id, split, options.data_dir) for split in ("train", "test"))
    if train.classes != test.classes:
        raise InputError(f"--id {options.id}: train and test have different classes; both need the same.")
    height, width = train.images.shape[1:3]
    native = (height, width) if min(height, width) < SIDE else (SIDE, SIDE)
    novel = []
    if options.novel_classes:
        train, test, left_out = hold_out(train, test, options.novel_classes.split(","))
        novel = [OutlierSet(NOVEL, _cut(fit_28(left_out), schedule.test_images, generator).images)]
    train_pixels = _cut(fit_28(train), schedule.train_images, generator)
    test_pixels = _cut(fit_28(test), schedule.test_images, generator)
    names = [name for name in options.ood.split(",") if name]
    if not names or len(set(names)) != len(names):
        raise InputError(f"--ood `{options.ood}` names no set, or one more than once.")
    outliers = [outlier_set(name, train_pixels.images, generator, options.data_dir, native) for name in names]
    limit = schedule.test_images
    return train_pixels, test_pixels, novel + [OutlierSet(o.name, _pick(o.images, limit, generator)) for o in outliers]


def _cut(pixels: Pixels, limit: int | None, generator: torch.Generator) -> Pixels:
    if limit is None or len(pixels) <= limit:
        return pixels
    return pixels.select(torch.randperm(len(pixels), generator=generator)[:limit].sort().values)


def _pick(images: torch.Tensor, limit: int | None, generator: torch.Generator) -> torch.Tensor:
    if limit is None or len(images) <= limit:
        return images
    return images[torch.randperm(len(images), generator=generator)[:limit].sort().values]


def _epochs(steps: int | None, n_images: int, batch_size: int, full: int) -> int:
    """Epochs that come to about so many steps."""
    if steps is None:
        return full
    return max(1, round(steps / max(1, n_images // batch_size)))


def _has_pairs(pixels: Pixels) -> bool:
    """Whether every class has the two images that a covariance needs."""
    return int(torch.bincount(pixels.labels, minlength=len(pixels.classes)).min()) >= 2

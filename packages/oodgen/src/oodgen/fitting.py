"""`oodgen.fit` and the bench: a VAE, outliers made with it, and the classifier, within a budget."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ood_shared import files
from ood_shared.contract import Request, epochs_of
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import Method, Trained, as_benchmark, fitting_in, run_within_budget
from ood_shared.devices import module_device, resolve_device
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.loaders import to_float
from ood_shared.runs import read_settings
from ood_shared.training import Compute
from torch import Tensor

from oodgen.bench import SCHEDULES, Schedule
from oodgen.checkpoints import CLASSIFIER_FOLDERS
from oodgen.classifier import OutlierClassifier, ood_weight_from_counts
from oodgen.configuration import CONFIGURATION
from oodgen.data.folders import SIDE, Pixels
from oodgen.detector import OodgenDetector, as_grey
from oodgen.outliers import GenerationSettings, make_outliers
from oodgen.reconstructions import with_reconstructions
from oodgen.scores import METHOD, PAPER
from oodgen.settings import ClassifierSettings, VaeSettings
from oodgen.state import MODEL, History
from oodgen.train import train_classifier, train_vae
from oodgen.vae import ConditionalVAE

BENCH = Method(METHOD, PAPER, SIDE, 1)
FULL_VAE_EPOCHS, FULL_CLASSIFIER_EPOCHS = 100, 200  # the documented ones
VAE_BATCH, CLASSIFIER_BATCH = 128, 256
# of Adadelta with the common network: 0.05 is the documented one; in some hundred steps it does not come far, and in
# more 0.5 shakes batch norm to the end (PneumoniaMNIST: validation loss 5.6 after 1,168 steps, 0.23 with 0.05)
COMMON_LR = {"smoke": 0.5, "quick": 0.05, "full": 0.05}
RESTARTS, SEED_STEP, PROBED = 4, 1000, 64


@dataclass(frozen=True)
class BudgetRun:
    """What a training within a budget gives.

    Attributes:
        vae: that made the outliers.
        vae_settings: with the seed that it was trained with.
        generation: of the outliers.
        network: the classifier.
        settings: of the classifier.
        step_seconds: of its fastest epoch.
        checkpoint: file of its weights.
    """

    vae: ConditionalVAE
    vae_settings: VaeSettings
    generation: GenerationSettings
    network: OutlierClassifier
    settings: ClassifierSettings
    step_seconds: float | None
    checkpoint: Path


def fit(
    images: Images,
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    classes: Sequence[str] | None = None,
    output_dir: str | Path | None = None,
    budget: str = "smoke",
    backbone: str = "common",
    mirror: bool = False,
    id_recon: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> OodgenDetector:
    """Train a detector: a VAE, outliers made with it, and the classifier, on exactly these images.

    Args:
        images: of the ID classes; any size and colour, turned into 28 x 28 grey.
        labels: whole numbers (n,), 0..classes-1.
        classes: their names.
        output_dir: keeps the run, for `load`; a temporary folder when None.
        budget: how long, as `oodgen.bench --budget`.
        backbone: `common` or `paper`, as `--backbone`.
        mirror: whether a mirrored image still shows its class (photographs).
        id_recon: whether reconstructions are trained on, too.
        seed: of every draw.
        device: where it is trained.

    Raises:
        InputError: images or labels that do not fit.
    """
    request = Request("images", "none", budget=budget, backbone=backbone, seed=seed)
    compute = Compute(resolve_device(device))
    benchmark = as_benchmark(images, labels, as_grey, classes, mirror)
    generator = torch.Generator().manual_seed(seed)
    with fitting_in(output_dir) as folder:
        run = train_within_budget(benchmark, generator, compute, folder, request, SCHEDULES[budget], id_recon)
    return _detector_of(run, benchmark, compute)


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, generate, train, score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    request, compute = Request.from_options(options), Compute.from_options(options)
    limits = request.common or schedule
    train = partial(_train, request=request, schedule=schedule, id_recon=options.id_recon)
    run_within_budget(BENCH, request, (limits.train_images, limits.test_images), train, compute, options.output_dir)


def _train(
    benchmark: Benchmark,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    request: Request,
    schedule: Schedule,
    id_recon: bool,
) -> Trained:
    run = train_within_budget(benchmark, generator, compute, folder, request, schedule, id_recon)
    config = {
        "vae": asdict(run.vae_settings),
        "generation": asdict(run.generation),
        "classifier": asdict(run.settings),
        "n_train": len(benchmark.train),
    }
    detector = _detector_of(run, benchmark, compute)
    networks = [run.vae, run.network]
    return Trained(detector, networks, run.settings.epochs, run.checkpoint, run.step_seconds, config)


def _detector_of(run: BudgetRun, benchmark: Benchmark, compute: Compute) -> OodgenDetector:
    settings = run.settings
    scale, names = (settings.mean, settings.std), benchmark.classes
    return OodgenDetector(run.network, names, *scale, precision=compute.precision, native=benchmark.native)


def train_within_budget(
    benchmark: Benchmark,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    request: Request,
    schedule: Schedule,
    id_recon: bool,
) -> BudgetRun:
    """Train, generate, train.

    Args:
        benchmark: its training images are trained on; its test images serve for the lines that are printed.
        generator: of the outliers.
        compute: how to compute.
        folder: gets `vae` and `classifer`.
        request: budget, backbone and seed.
        schedule: of the budget.
        id_recon: whether reconstructions are trained on, too.
    """
    train = Pixels(benchmark.train, benchmark.train_labels, benchmark.classes)
    test = Pixels(benchmark.test, benchmark.test_labels, benchmark.classes)
    n = len(train.classes)
    vae_epochs = _epochs(schedule.vae_steps, len(train), VAE_BATCH, FULL_VAE_EPOCHS)
    vae_settings = VaeSettings(n, epochs=vae_epochs, batch_size=VAE_BATCH, save_every=vae_epochs, seed=request.seed)
    vae, vae_settings = train_vae_with_restarts(train, test, vae_settings, folder / "vae", compute)
    generation = GenerationSettings()
    made = make_outliers(vae, train, train, generation, generator)
    made_test = make_outliers(vae, test, train, generation, generator) if _has_pairs(test) else made
    shown = with_reconstructions(vae, train) if id_recon else train
    n_mixed = len(shown) + len(made.images)
    common = request.common
    if common is None:
        batch_size, lr, views = CLASSIFIER_BATCH, schedule.lr, "none"
        epochs = _epochs(schedule.classifier_steps, n_mixed, batch_size, FULL_CLASSIFIER_EPOCHS)
    else:  # as many steps as the others, with as many real ID images in each
        batch_size, lr = round(common.batch_size * n_mixed / len(train)), COMMON_LR[request.budget]
        epochs, views = common.epochs(len(train)), "crop_mirror" if benchmark.mirror else "crop"
    weight = schedule.ood_weight or ood_weight_from_counts(len(shown), n, len(made.images))
    settings = ClassifierSettings(
        n,
        architecture="doc" if common is None else common.network,
        epochs=epochs,
        batch_size=batch_size,
        save_every=epochs,
        lr=lr,
        id_recon=id_recon,
        ood_weight=weight,
        views=views,
        seed=request.seed,
    )
    mixed, mixed_test = shown.with_outliers(made.images), test.with_outliers(made_test.images)
    target = folder / CLASSIFIER_FOLDERS[0]
    network, history = train_classifier(mixed, mixed_test, settings, target, compute)
    _write_configuration(target, settings, benchmark)
    steps = max(1, len(mixed) // batch_size)
    return BudgetRun(vae, vae_settings, generation, network, settings, _fastest(history, steps), target / MODEL)


def _write_configuration(folder: Path, settings: ClassifierSettings, benchmark: Benchmark) -> None:
    """What `load` and the later steps need to know of the classifier in a folder."""
    content = {**asdict(settings), "class_names": list(benchmark.classes), "native": list(benchmark.native)}
    content["normalize_used"] = [settings.mean, settings.std]
    files.write_json(folder / CONFIGURATION, content)


def _fastest(history: History, steps: int) -> float | None:
    return min(record["seconds"] for record in history) / steps if history else None


def train_vae_with_restarts(
    train: Pixels, test: Pixels, settings: VaeSettings, folder: Path, compute: Compute
) -> tuple[ConditionalVAE, VaeSettings]:
    """The VAE, begun anew with another seed where its encoder died in the first tenth of its epochs.

    With one seed in four, on a few hundred images, the activations of the encoder all fall below zero and stay there:
    every image has the same code, and no training brings it back.

    Returns:
        The network, and the settings with the seed that it was trained with.

    Raises:
        InputError: the encoder died with every seed.
    """
    if compute.resume:
        settings = replace(settings, seed=int(read_settings(folder).get("seed", settings.seed)))
    for attempt in range(RESTARTS):
        tried = replace(settings, seed=settings.seed + attempt * SEED_STEP)
        first = replace(tried, epochs=max(1, tried.epochs // 10))
        vae, history = train_vae(train, test, first, folder, replace(compute, resume=compute.resume and not attempt))
        if not all_codes_equal(vae, train):
            if len(history) < tried.epochs:
                vae, _ = train_vae(train, test, tried, folder, replace(compute, resume=True))
            return vae, tried
        print(f"the VAE's encoder died with seed {tried.seed}; beginning anew with another", flush=True)
    raise InputError(f"The VAE's encoder died with {RESTARTS} seeds. Pass another --seed or a longer --budget.")


@torch.no_grad()
def all_codes_equal(vae: ConditionalVAE, train: Pixels) -> bool:
    """Whether images of one class have one and the same code."""
    rows = (train.labels == train.labels[0]).nonzero().squeeze(1)[:PROBED]
    device = module_device(vae)
    conditions = torch.eye(len(train.classes), device=device)[train.labels[rows].to(device)]
    codes = vae.encode(to_float(train.images[rows].to(device)), conditions)[0]
    return len(rows) > 1 and bool((codes == codes[0]).all())


def _epochs(steps: int | None, n_images: int, batch_size: int, full: int) -> int:
    """Epochs that come to about so many steps."""
    if steps is None:
        return full
    return epochs_of(steps, n_images, batch_size)


def _has_pairs(pixels: Pixels) -> bool:
    """Whether every class has the two images that a covariance needs."""
    return int(torch.bincount(pixels.labels, minlength=len(pixels.classes)).min()) >= 2

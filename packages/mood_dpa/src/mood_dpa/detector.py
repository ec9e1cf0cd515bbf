"""What `mood_dpa.bench` does: train within a schedule, score, write the result."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import checkpoints
from ood_shared.contract import Request, common_of
from ood_shared.datasets.benchmark import read_benchmark
from ood_shared.devices import autocast, make_scaler, resolve_device, seed_everything
from ood_shared.errors import InputError
from ood_shared.results.record import facts_of, make_result, pack_scores, print_metrics, write_result
from ood_shared.results.thumbnails import write_pictures
from torch import Tensor

from mood_dpa import fit
from mood_dpa.bench import Schedule
from mood_dpa.checkpoints import Model, build_families
from mood_dpa.collapse import CollapseWatch
from mood_dpa.data.anomalies import add_anomaly_3d
from mood_dpa.data.preprocessing import normalise, prepare_slices
from mood_dpa.data.slices import cut_slices
from mood_dpa.data.subjects import make_subject, mni152
from mood_dpa.data.volumes import is_volume, list_volumes, read_volume, rescaled
from mood_dpa.fit import Compute
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.predict import AxisModel, Ensemble
from mood_dpa.scores import Looking
from mood_dpa.simclr import SimCLR, nt_xent, two_views, warmed
from mood_dpa.standalone import warn_of_slow_bf16
from mood_dpa.vgg import VGG19, load_features

METHOD = "mood_dpa"
PAPER = (
    "Shvetsova, Bakker, Fedulova, Schulz, Dylov: Anomaly Detection in Medical Imaging With Deep Perceptual "
    "Autoencoders, IEEE Access 2021; MOOD 2020, third place of the pixel task"
)
SIDE = 32
NO_CLASSIFIER = "autoencoder"
EMBEDDED, SYNTHETIC = "mni152", "synthetic"
SUBJECT_SIDE = 64
LEAST_SHARE = 1 / 16  # of a slice that is positive, for training on it
SMALL_SHARE = 100 / 64**2  # of the intensity sum that a slice needs to be scored
TEST_SHARE = 4  # every so many-th volume is tested
SIMCLR_BATCH, SIMCLR_RATE, SIMCLR_WARMUP = 32, 2e-5, 10  # at the published 3e-4 the features collapse: `collapse`
CHUNK = 256


class Tensors:
    """Endless shuffled batches of images in memory."""

    def __init__(self, images: Tensor, generator: torch.Generator, device: torch.device) -> None:
        self.images, self.generator, self.device = images.to(device), generator, device
        self._order, self._at = torch.randperm(len(images), generator=generator), 0

    def take(self, batch_size: int) -> Tensor:
        """The next batch, about [-1, 1]."""
        size = min(batch_size, len(self.images))
        if self._at + size > len(self._order):
            self._order, self._at = torch.randperm(len(self.images), generator=self.generator), 0
        index = self._order[self._at : self._at + size].to(self.device)
        self._at += size
        return to_network(self.images[index])

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""
        return {"order": self._order, "at": self._at, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._order, self._at = state["order"], int(state["at"])
        self.generator.set_state(state["generator"])


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, then score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    compute = Compute(resolve_device(options.device), options.precision, options.compile)
    warn_of_slow_bf16(compute.device, options.precision)
    seed_everything(options.seed)
    folder = Path(options.output_dir)
    run = bench_volumes if is_volume_set(options.id) else bench_images
    arrays, config, timings, checkpoint = run(options, schedule, compute, folder)
    result = make_result(
        arrays,
        method=METHOD,
        paper=PAPER,
        seed=options.seed,
        budget=options.budget,
        config={**asdict(schedule), **config},
        timings=timings,
        device=compute.device,
        checkpoint=checkpoint,
    )
    write_result(folder, result, arrays)
    print_metrics(result)


def is_volume_set(name: str) -> bool:
    """Whether a name means volumes: the embedded subjects, or a folder with NIfTI files."""
    path = Path(name)
    return name == EMBEDDED or (path.is_dir() and any(is_volume(entry.name) for entry in path.iterdir()))


def to_network(images: Tensor) -> Tensor:
    """uint8, or floats in the scale of [0, 1] -> float32 about [-1, 1]."""
    return normalise(images.float() / 255 if images.dtype == torch.uint8 else images.float())


Run = tuple[dict[str, Any], dict[str, Any], dict[str, float | None], Path]


def bench_images(options: argparse.Namespace, schedule: Schedule, compute: Compute, folder: Path) -> Run:
    """Sets of images: one autoencoder, the score is the relative perceptual error."""
    generator = torch.Generator().manual_seed(options.seed)
    limits = common_of(options) or schedule
    benchmark = read_benchmark(
        Request.from_options(options), SIDE, 1, generator, limits.train_images, limits.test_images
    )
    started = time.perf_counter()
    features = pretrained(benchmark.train, schedule.simclr_steps, generator, compute)
    model, seconds = fit_autoencoder(benchmark.train, features, schedule, schedule.steps, generator, compute, folder)
    train_seconds = time.perf_counter() - started

    started = time.perf_counter()
    arrays = pack_scores(
        options.id,
        (image_scores(model, benchmark.test, compute), benchmark.test_labels, None),
        {name: (image_scores(model, images, compute), None) for name, images in benchmark.ood.items()},
    )
    score_seconds = time.perf_counter() - started
    write_pictures(folder, arrays, benchmark.scored(options.id), benchmark.classes)
    epochs = round(schedule.steps * schedule.batch_size / len(benchmark.train), 1)
    config = facts_of(NO_CLASSIFIER, [model.encoder, model.decoder], epochs)
    config |= {"n_train": len(benchmark.train), "side": SIDE, "novel_classes": options.novel_classes}
    return arrays, config, _timings(train_seconds, seconds, score_seconds, len(arrays["scores"])), folder / fit.MODEL


def bench_volumes(options: argparse.Namespace, schedule: Schedule, compute: Compute, folder: Path) -> Run:
    """Volumes: an autoencoder per axis, the score is the maximum of the averaged map."""
    volumes = read_volumes(options.id, schedule, options.seed)
    test = volumes[TEST_SHARE - 1 :: TEST_SHARE]
    train = [v for i, v in enumerate(volumes) if i % TEST_SHARE != TEST_SHARE - 1]
    if not test:
        raise InputError(f"--id {options.id} holds {len(volumes)} volumes; at least {TEST_SHARE} are needed.")
    generator = torch.Generator().manual_seed(options.seed)
    outliers = {name: _outlier_volumes(name, test, options.seed) for name in options.ood.split(",") if name}
    started = time.perf_counter()
    slices = [torch.cat([axis_slices(volume, axis) for volume in train]) for axis in range(3)]
    features = pretrained(torch.cat(slices), schedule.simclr_steps, generator, compute)
    parts, seconds = [], 0.0
    for axis in range(3):
        place = folder / f"axis_{axis}"
        model, taken = fit_autoencoder(
            slices[axis], features, schedule, max(1, schedule.steps // 3), generator, compute, place
        )
        model.loss.reduction = "pixelwise"
        assert isinstance(model.loss, PerceptualLoss)
        model.loss.volumes = True
        small = SMALL_SHARE * float(np.prod([n for a, n in enumerate(test[0].shape) if a != axis]))
        parts.append(AxisModel(model, axis, Looking(True, SIDE, small, compute.precision)))
        seconds = max(seconds, taken)
    ensemble = Ensemble(tuple(parts), None, delete_zero_area=True)
    train_seconds = time.perf_counter() - started

    def score(some: list[np.ndarray]) -> np.ndarray:
        return np.array([ensemble.predict(volume, compute.device)[1] for volume in some])

    started = time.perf_counter()
    arrays = pack_scores(
        options.id,
        (score(test), np.zeros(len(test), np.int64), None),
        {name: (score(found), None) for name, found in outliers.items()},
    )
    score_seconds = time.perf_counter() - started
    networks = [net for part in parts for net in (part.model.encoder, part.model.decoder)]
    epochs = round(schedule.steps * schedule.batch_size / sum(map(len, slices)), 1)
    config = facts_of(NO_CLASSIFIER, networks, epochs) | {"n_train": len(train), "side": SIDE, "axes": [0, 1, 2]}
    timings = _timings(train_seconds, seconds, score_seconds, len(arrays["scores"]))
    return arrays, config, timings, folder / "axis_0" / fit.MODEL


def pretrained(slices: Tensor, steps: int, generator: torch.Generator, compute: Compute) -> VGG19:
    """Features of the first stage: SimCLR on the ID slices, or random ones when the budget has no room for it."""
    if steps == 0:
        print("note: this budget leaves out SimCLR, which needs more steps; the features are random.", file=sys.stderr)
        return load_features(quiet=True)
    network = SimCLR().to(compute.device).train()
    optimizer = torch.optim.Adam(network.parameters(), SIMCLR_RATE, weight_decay=1e-5)
    scaler = make_scaler(compute.device, compute.precision)
    source = Tensors(slices, generator, compute.device)
    watch = CollapseWatch(compute.device, SIMCLR_RATE, SIMCLR_WARMUP, "mood_dpa.detector")
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = warmed(SIMCLR_RATE, step, SIMCLR_WARMUP)
        images = source.take(SIMCLR_BATCH) * 0.5 + 0.5
        views = torch.cat(two_views(images, SIDE, generator))
        with autocast(compute.device, compute.precision):
            z = network(views)[1]
        zi, zj = torch.nn.functional.normalize(z.float(), dim=1).chunk(2)
        loss = nt_xent(zi, zj)
        watch.add(loss, zi, zj)
        watch.check(step + 1, now=step + 1 == steps)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    found = VGG19()
    convolutions = list(network.features[0].state_dict().values())
    found.load_state_dict(dict(zip(found.state_dict(), convolutions, strict=True)))
    return found.eval()


def fit_autoencoder(
    images: Tensor,
    features: VGG19,
    schedule: Schedule,
    steps: int,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
) -> tuple[Model, float]:
    """Train one autoencoder; returns it and the seconds of a step."""
    widths = {"type": "residual9", "kwargs": {"inner_dims": [schedule.width] * 4}}
    config: dict[str, Any] = {
        **{"max_image_res": SIDE, "initial_image_res": SIDE, "image_dim": 1, "latent_res": 1},
        **{"latent_dim": schedule.latent_dim, "trns_iter": 0, "stab_iter": steps, "iters_per_res": {}},
        **{"log_iter": max(1, steps // 10), "val_iter": max(1, steps // 2), "image_sample_iter": steps + 1},
        **{"early_stopping_patience": 1e9, "early_stopping_min_delta": 0.0, "save_iter": steps + 1},
        **{
            "batch_sizes": {SIDE: schedule.batch_size},
            "adam_kwargs": {"lr": schedule.lr},
            "enc": widths,
            "dec": widths,
        },
    }
    weights = {SIDE: {"img_weight": 0, "feature_weights": {schedule.layer: 1}}}
    config["image_rec_loss"] = {
        "loss_type": "relative_perceptual_L1",
        "loss_kwargs": {"weights_per_resolution": weights, "normalize_to_vgg_input": False},
    }
    loss = PerceptualLoss(
        weights, use_L1_norm=True, use_relative_error=True, normalize_to_vgg_input=False, features=features
    )
    held = max(1, min(len(images) // 10, 200))  # for the validation loss
    order = torch.randperm(len(images), generator=generator)
    source = Tensors(images[order[held:]] if len(images) > 1 else images, generator, compute.device)
    validation = images[order[:held]].to(compute.device)

    def one_pass() -> Iterator[Tensor]:
        return (to_network(part) for part in validation.split(schedule.batch_size))

    trainer = fit.Trainer(
        config,
        build_families(config),
        loss,
        source,
        one_pass,
        to_network(validation[: fit.DISPLAYED]),
        compute=compute,
    )
    started = time.perf_counter()
    trainer.fit()
    seconds = (time.perf_counter() - started) / steps
    state = {"config": config, "stage": "stab", "resolution": SIDE, "progress": 1.0, "niter": steps}
    state |= {"enc": trainer.encoder.state_dict(), "dec": trainer.decoder.state_dict()}
    checkpoints.save(folder / fit.MODEL, state)
    for net in (trainer.encoder, trainer.decoder):
        net.eval().requires_grad_(False)
    return Model(trainer.encoder, trainer.decoder, trainer.loss.eval(), SIDE, config), seconds


@torch.inference_mode()
def image_scores(model: Model, images: Tensor, compute: Compute) -> np.ndarray:
    """Relative perceptual distance of each image to its reconstruction; higher means more OOD."""
    model.loss.reduction = "none"
    found = []
    for part in images.split(CHUNK):
        x = to_network(part.to(compute.device))
        with autocast(compute.device, compute.precision):
            found.append(model.loss(x, model.reconstruct(x).float()).float().cpu())
    return torch.cat(found).numpy()


def read_volumes(name: str, schedule: Schedule, seed: int) -> list[np.ndarray]:
    """Embedded subjects or the volumes of a folder, in [0, 1].

    Folders may hold any intensities: those outside [0, 1] are brought to it by percentiles.
    """
    if name == EMBEDDED:
        template, _ = mni152(SUBJECT_SIDE)
        return [make_subject(template, np.random.default_rng((seed, i))) for i in range(schedule.subjects)]
    found = []
    for path in list_volumes(Path(name)):
        data = read_volume(path).data
        found.append(rescaled(data) if data.min() < 0 or data.max() > 1 else data)
    return found


def axis_slices(volume: np.ndarray, axis: int) -> Tensor:
    """Slices (n, 1, SIDE, SIDE) with enough in them, in [0, 1]."""
    least = int(LEAST_SHARE * np.prod([n for a, n in enumerate(volume.shape) if a != axis]))
    index, slices = cut_slices(volume, axis, least, None, "float32")
    if not len(index):
        return torch.zeros(0, 1, SIDE, SIDE)
    return prepare_slices(torch.from_numpy(np.ascontiguousarray(slices)), SIDE, normalised=False)


def _outlier_volumes(name: str, test: list[np.ndarray], seed: int) -> list[np.ndarray]:
    if name == SYNTHETIC:
        draws = np.random.RandomState(seed)
        return [add_anomaly_3d(volume, draws).image for volume in test]
    if not is_volume_set(name) or name == EMBEDDED:
        raise InputError(f"--ood `{name}`: against volumes only `{SYNTHETIC}` and folders of NIfTI volumes can stand.")
    return read_volumes(name, Schedule(None, None, 0, 1, 1, 1, "r22", 0.0), seed)


def _timings(train: float, step: float, score: float, count: int) -> dict[str, float | None]:
    return {
        "train_seconds": train,
        "train_step_seconds": step,
        "score_seconds_per_1000": 1000 * score / count,
    }

"""Assemble a training run (network, queue, optimizer, loaders, generators) and carry it out.

Three streams of random numbers are alike on all ranks (weights, order of the ID images, order of the outliers), three
are a rank's own (dropout, transforms and latent samples, outliers).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from ood_shared import distributed, optimizers, plots
from ood_shared.devices import make_scaler, maybe_compile, seed_everything
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader
from ood_shared.locks import claimed
from ood_shared.runs import CHECKPOINT, Run, read_settings, refuse_other_settings
from ood_shared.training import Compute
from torch import Tensor

from know_your_space import figures
from know_your_space.data.classes import balanced_draws, class_counts, class_weights
from know_your_space.data.outlier_batches import OutlierStream
from know_your_space.data.training import TrainingData
from know_your_space.loop import fit
from know_your_space.networks import Network, build_model
from know_your_space.outliers import pixel_outliers
from know_your_space.queues import LatentQueue
from know_your_space.scores import logits_of
from know_your_space.settings import TrainSettings
from know_your_space.state import Job, Progress, restore, restore_three_keys
from know_your_space.step import Step
from know_your_space.validation import say, validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAY_DIFFER = (
    "epochs",
    "class_names",
    "native",
    "stored",
    "data_crc32",
)  # on resuming; the last has a message of its own
PRINT_FREQ = 10  # batches
SAMPLES, MAP = "samples.png", "latent_map.png"
BETAS, WEIGHT_DECAY = (0.9, 0.98), 5e-4
RANK_STEP = 1_000_003  # between the seeds of the ranks' own draws


@dataclass(frozen=True)
class RunFiles:
    """Where a run is written."""

    best: Path
    last: Path

    @property
    def folder(self) -> Path:
        """The run's own files, beside the checkpoints: runs with other margins may share their folder."""
        return self.best.with_name(self.best.name.removesuffix("-ckpt.pth.tar"))


def train(
    data: TrainingData,
    settings: TrainSettings,
    files: RunFiles,
    compute: Compute,
    *,
    resume: bool = True,
    print_freq: int = PRINT_FREQ,
) -> tuple[Network, list[float]]:
    """Train a network and leave its checkpoints; a run that stopped earlier goes on.

    Args:
        data: training and validation part.
        settings: what decides the weights.
        files: where the checkpoints go.
        compute: how it runs.
        resume: go on from the files of an earlier run, as the original does by itself; else start anew.
        print_freq: batches between two lines.

    Returns:
        The network of the last epoch, in eval mode, and the seconds of each epoch of this call.

    Raises:
        InputError: the data, the settings or the files of the earlier run do not fit.
    """
    record = {**_plain(settings), "precision": compute.precision, "data_crc32": data.crc32()}
    record |= {"class_names": list(data.train.names), "native": list(data.train.native), "stored": data.stored}
    network, job = make_job(data, settings, files, compute, print_freq)
    with claimed(files.folder, files.best, files.last):
        fresh = _fresh(files, resume)
        if not fresh and (files.folder / CHECKPOINT).is_file():
            _refuse_other_run(files, record)
        progress = _start(job, files, settings, fresh)
        _introduce(data, settings, network)
        run = Run(files.folder, record, log_to=compute.log_to, last_step=progress.epoch)
        if progress.epoch >= settings.epochs:
            say(
                f"{files.best.parent} holds a finished run ({progress.epoch} of {settings.epochs} epochs). "
                "Pass more --epochs to go on, or --restart to begin anew."
            )
        _draw(files.folder / SAMPLES, lambda: figures.sample_rows(data.train, settings, settings.seed))
        try:
            seconds = fit(job, run, progress)
        finally:
            run.close()
    if settings.latent and job.step.queue.full:
        _draw(files.folder / MAP, lambda: figures.latent_map(job.step.queue, data.train.names, settings, settings.seed))
    network.eval()
    return network, seconds


def _fresh(files: RunFiles, resume: bool) -> bool:
    """Whether the run begins anew; then the files of an earlier one are removed, so that the two never mix."""
    if resume:
        return not ((files.folder / CHECKPOINT).is_file() or files.best.is_file())
    if distributed.is_main():
        for old in (files.best, files.last, files.folder / CHECKPOINT):
            old.unlink(missing_ok=True)
    distributed.wait_for_all()
    return True


def _start(job: Job, files: RunFiles, settings: TrainSettings, fresh: bool) -> Progress:
    if fresh:
        return Progress(lr=settings.lr)
    if (files.folder / CHECKPOINT).is_file():
        progress = restore(job, files.folder / CHECKPOINT)
        say(f"Going on from {files.folder / CHECKPOINT}: {progress.epoch} epochs and {progress.batch} batches done.")
        return progress
    progress = restore_three_keys(job, files.best)
    say(
        f"Going on from {files.best} with epoch {progress.epoch + 1}, as the original does: weights and optimizer are "
        "restored, queues and schedule start anew."
    )
    return progress


def _refuse_other_run(files: RunFiles, record: dict[str, Any]) -> None:
    try:
        refuse_other_settings(files.folder, record, MAY_DIFFER)
    except InputError as error:
        raise InputError(f"{str(error).removeprefix('--resume: ')} Or begin anew with --restart.") from None
    if read_settings(files.folder).get("data_crc32", record["data_crc32"]) != record["data_crc32"]:
        raise InputError(
            f"The run in {files.folder} was trained on other images than are there now. Restore them, pass another "
            "--ckpt_name, or begin anew with --restart."
        )


def _introduce(data: TrainingData, settings: TrainSettings, network: Network) -> None:
    """The lines at the start."""
    counts = torch.bincount(data.train.labels, minlength=settings.n_classes).tolist()
    chosen = [*settings.operators, *(["rand_conv"] if settings.rand_conv else [])]
    space = settings.outlier_space
    say(f"outlier operators: {', '.join(chosen) if space == 'pixel' else f'none, outliers are {space}'}")
    say(f"inliers: {settings.inlier_space}, outliers: {space}")
    say(f"training part: {data.train.source}")
    say(f"class counts: {dict(zip(data.train.names, counts, strict=True))}, validation images: {len(data.val)}")
    say(f"parameters: {sum(parameter.numel() for parameter in network.parameters())}")
    say(f"settings: {asdict(settings)}")


def _draw(path: Path, figure: Callable[[], "Figure"]) -> None:
    if distributed.is_main():
        plots.save(figure(), path)


def _plain(settings: TrainSettings) -> dict[str, Any]:
    """As JSON gives them back: lists in files of tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def make_job(
    data: TrainingData, settings: TrainSettings, files: RunFiles, compute: Compute, print_freq: int = PRINT_FREQ
) -> tuple[Network, Job]:
    """Everything that `fit` needs, at its start."""
    s, device = settings, compute.device
    rank = distributed.rank()
    seed_everything(s.seed)
    network = cast(Network, build_model(s.model_type, s.n_classes, s.layers, s.widen_factor, s.droprate)).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.2 to 1.6 times faster on CPUs
    distributed.broadcast(network)
    seed_everything(s.seed + RANK_STEP * rank)  # dropout
    counts = class_counts(data.train.labels, s.n_classes)
    weights = class_weights(counts).to(device)
    images, labels = data.train.images.to(device), data.train.labels.to(device)
    val_images, val_labels = data.val.images.to(device), data.val.labels.to(device)
    forward = maybe_compile(network, compute.compile)
    queue = LatentQueue(s.n_classes, s.sample_number, network.feature_dim).to(device)
    own = torch.Generator().manual_seed(s.seed + RANK_STEP * rank + 1)

    def draw(generator: torch.Generator) -> Tensor:
        return distributed.shard(balanced_draws(data.train.labels, counts, generator))

    optimizer = optimizers.make(torch.optim.Adam, network.parameters(), lr=s.lr, betas=BETAS, weight_decay=WEIGHT_DECAY)
    job = Job(
        settings=s,
        network=network,
        optimizer=optimizer,
        scaler=make_scaler(device, compute.precision),
        step=Step(network, forward, queue, weights, s, own, compute.precision),
        loader=DeviceLoader(
            images,
            labels,
            s.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(s.seed + 2),
            draw=draw,
            drawn=len(distributed.shard(torch.arange(len(images)))),
        ),
        outliers=_outliers(data, images, s, rank),
        validate=lambda: validate(
            partial(logits_of, network, precision=compute.precision, batch_size=s.batch_size),
            val_images,
            val_labels,
            weights,
            s.batch_size,
            print_freq,
        ),
        folder=files.folder,
        best=files.best,
        last=files.last,
        drawn=len(images),
        print_freq=print_freq,
    )
    return network, job


def _outliers(data: TrainingData, images: Tensor, settings: TrainSettings, rank: int) -> OutlierStream | None:
    """Outliers are made of the stored images, also where the ID images have reversed channels."""
    if settings.outlier_space != "pixel":
        return None
    side = None if settings.augmix_canvas == "original" else max(images.shape[2:])

    def make(pixels: Tensor, generator: torch.Generator) -> Tensor:
        return pixel_outliers(pixels, settings.operators, settings.augmix_severity, generator, canvas=side)

    return OutlierStream(
        images.flip(1) if data.train.reversed else images,
        settings.batch_size,
        make,
        order=torch.Generator().manual_seed(settings.seed + 3),
        draws=torch.Generator().manual_seed(settings.seed + RANK_STEP * rank + 4),
    )

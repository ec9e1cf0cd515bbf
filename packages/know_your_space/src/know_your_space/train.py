"""`train_in_latent_out_pix.py`: from flags to a run of `fit`."""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ood_shared import distributed, plots
from ood_shared.devices import resolve_device, seed_everything
from ood_shared.errors import InputError, unknown
from ood_shared.runs import CHECKPOINT, Run, read_settings, refuse_other_settings

from know_your_space import figures
from know_your_space.data import paths
from know_your_space.fit import Job, Progress, fit, restore, restore_three_keys
from know_your_space.job import Compute, Place, make_job
from know_your_space.networks import Network
from know_your_space.settings import TrainSettings, chosen_operators
from know_your_space.training_data import TrainingData, training_data
from know_your_space.validation import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAY_DIFFER = ("epochs", "data_crc32")  # on resuming; the last has a message of its own
SAMPLES, MAP = "samples.png", "latent_map.png"


def train_step(options: argparse.Namespace) -> None:
    """Train as the flags say; several processes when a launcher started them."""
    _check_launch(options)
    with distributed.setup(resolve_device(options.device)) as device:
        _train(options, device)


def _train(options: argparse.Namespace, device: torch.device) -> None:
    started = time.perf_counter()
    root = paths.work_folder(options.output_dir)
    place = Place(*(_checkpoint(root, options, last) for last in (False, True)))
    data = training_data(options)
    seed = _seed(place.folder, options)
    settings = settings_of(options, data.train.n_classes, seed)
    compute = Compute(device, options.precision, options.compile, options.log_to, options.print_freq)
    say(f"arguments: {vars(options)}")
    if settings.outlier_space != "pixel" and (settings.operators or settings.rand_conv):
        say(f"note: with --outlier_space {settings.outlier_space}, --augmix, --jigsaw and --rand_conv have no effect.")
    train(data, settings, place, compute, resume=not options.restart)
    say(f"Duration: {time.perf_counter() - started:.1f} s")


def settings_of(options: argparse.Namespace, n_classes: int, seed: int) -> TrainSettings:
    """The settings that the flags describe.

    Raises:
        InputError: a flag has a value that cannot work.
    """
    if options.model_type != "wrn":
        raise unknown("--model_type", options.model_type, ["wrn"])
    wanted = options.outlier_space == "pixel" or options.augmix or options.jigsaw
    operators = chosen_operators(options.augmix, options.jigsaw) if wanted else ()
    return TrainSettings(
        n_classes=n_classes,
        model_type=options.model_type,
        layers=options.layers,
        widen_factor=options.widen_factor,
        droprate=options.droprate,
        temperature=options.T,
        m_in=options.m_in,
        m_out=options.m_out,
        beta1=options.beta1,
        inlier_space=options.inlier_space,
        outlier_space=options.outlier_space,
        operators=operators,
        augmix_severity=options.augmix_severity,
        augmix_canvas=options.augmix_canvas,
        outlier_contrast=options.outlier_contrast,
        rand_conv=options.rand_conv,
        rand_conv_sizes=tuple(options.rand_conv_kernel_size),
        start_epoch=options.start_epoch,
        sample_number=options.sample_number,
        select=options.select,
        sample_from=options.sample_from,
        separate_bn=options.separate_bn,
        batch_size=options.batch_size,
        epochs=options.epochs,
        lr=options.lr,
        lr_schedule=options.lr_schedule,
        seed=seed,
    )


def train(
    data: TrainingData, settings: TrainSettings, place: Place, compute: Compute, *, resume: bool = True
) -> tuple[Network, list[float]]:
    """Train a network and leave its checkpoints; a run that stopped earlier goes on.

    Args:
        data: training and validation part.
        settings: what decides the weights.
        place: where the checkpoints go.
        compute: how it runs.
        resume: go on from the files of an earlier run, as the original does by itself; else start anew.

    Returns:
        The network of the last epoch, in eval mode, and the seconds of each epoch of this call.

    Raises:
        InputError: the data, the settings or the files of the earlier run do not fit.
    """
    record = {**_plain(settings), "precision": compute.precision, "data_crc32": data.crc32()}
    fresh = _fresh(place, resume)
    if not fresh and (place.folder / CHECKPOINT).is_file():
        _refuse_other_run(place, record)
    network, job = make_job(data, settings, place, compute)
    progress = _start(job, place, settings, fresh)
    _introduce(data, settings, network)
    if distributed.is_main():
        place.best.parent.mkdir(parents=True, exist_ok=True)
    run = Run(place.folder, record, log_to=compute.log_to, last_step=progress.epoch)
    if progress.epoch >= settings.epochs:
        say(
            f"{place.best.parent} holds a finished run ({progress.epoch} of {settings.epochs} epochs). "
            "Pass more --epochs to go on, or --restart to begin anew."
        )
    _draw(place.folder / SAMPLES, lambda: figures.sample_rows(data.train, settings, settings.seed))
    try:
        seconds = fit(job, run, progress)
    finally:
        run.close()
    if settings.latent and job.step.queue.full:
        _draw(place.folder / MAP, lambda: figures.latent_map(job.step.queue, data.train.names, settings, settings.seed))
    network.eval()
    return network, seconds


def _check_launch(options: argparse.Namespace) -> None:
    """`--dist` turns distributed training off; leaving it out asks for a launcher, which need not be there."""
    off = not options.dist
    if off and options.distributed:
        raise InputError("--dist turns distributed training off, --distributed asks for it. Pass one of them.")
    if distributed.launched():
        if off:
            raise InputError(
                "--dist turns distributed training off, but a launcher started several processes. Leave --dist out, "
                "or start one process."
            )
    elif options.distributed:
        raise InputError(
            "--distributed needs a launcher. Start `torchrun --nproc-per-node N train_in_latent_out_pix.py …` "
            "with N processes, one for each GPU."
        )
    elif not off:
        say("No launcher started several processes: training in this one, as with --dist.")


def _checkpoint(root: Path, options: argparse.Namespace, last: bool) -> Path:
    names = options.model_type, options.in_dataset, options.ckpt_name
    return paths.checkpoint_path(root, *names, options.m_in, options.m_out, options.T, last)


def _seed(folder: Path, options: argparse.Namespace) -> int:
    """The given seed; else that of the run to go on with; else one drawn from the system, the same on all ranks."""
    known = None if options.restart else read_settings(folder).get("seed")
    chosen = options.seed if options.seed is not None else known
    return int(distributed.gather_objects(seed_everything(chosen))[0])


def _fresh(place: Place, resume: bool) -> bool:
    """Whether the run begins anew; then the files of an earlier one are removed, so that the two never mix."""
    if resume:
        return not ((place.folder / CHECKPOINT).is_file() or place.best.is_file())
    if distributed.is_main():
        for old in (place.best, place.last, place.folder / CHECKPOINT):
            old.unlink(missing_ok=True)
    distributed.wait_for_all()
    return True


def _start(job: Job, place: Place, settings: TrainSettings, fresh: bool) -> Progress:
    if fresh:
        return Progress(lr=settings.lr)
    if (place.folder / CHECKPOINT).is_file():
        progress = restore(job, place.folder / CHECKPOINT)
        say(f"Going on from {place.folder / CHECKPOINT}: {progress.epoch} epochs and {progress.batch} batches done.")
        return progress
    progress = restore_three_keys(job, place.best)
    say(
        f"Going on from {place.best} with epoch {progress.epoch + 1}, as the original does: weights and optimizer are "
        "restored, queues and schedule start anew."
    )
    return progress


def _refuse_other_run(place: Place, record: dict[str, Any]) -> None:
    try:
        refuse_other_settings(place.folder, record, MAY_DIFFER)
    except InputError as error:
        raise InputError(f"{str(error).removeprefix('--resume: ')} Or begin anew with --restart.") from None
    if read_settings(place.folder).get("data_crc32", record["data_crc32"]) != record["data_crc32"]:
        raise InputError(
            f"The run in {place.folder} was trained on other images than are there now. Restore them, pass another "
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
    """As JSON gives them back: lists in place of tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}

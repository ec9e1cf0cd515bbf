"""What the two scripts do with their flags: typed settings leave this room, and nobody behind it sees a flag."""

import argparse
import time
from pathlib import Path

import torch
from ood_shared import distributed
from ood_shared.devices import resolve_device, seed_everything
from ood_shared.errors import InputError, unknown
from ood_shared.runs import read_settings
from ood_shared.training import Compute

from know_your_space.data import paths
from know_your_space.data.options import DataOptions
from know_your_space.data.training import training_data
from know_your_space.evaluate import detect
from know_your_space.settings import DetectSettings, TrainSettings, chosen_operators
from know_your_space.train import RunFiles, train
from know_your_space.validation import say


def train_step(options: argparse.Namespace) -> None:
    """Train as the flags say; several processes when a launcher started them."""
    _check_launch(options)
    if options.resume and options.restart:
        raise InputError("--resume goes on with a run, --restart begins anew. Pass one of them.")
    with distributed.setup(resolve_device(options.device)) as device:
        _train(options, device)


def _train(options: argparse.Namespace, device: torch.device) -> None:
    started = time.perf_counter()
    root = paths.work_folder(options.output_dir)
    files = RunFiles(*(_checkpoint(root, options, last) for last in (False, True)))
    data = training_data(options.in_dataset, DataOptions.of(options))
    seed = _seed(files.folder, options)
    settings = settings_of(options, data.train.n_classes, seed)
    compute = Compute(device, options.precision, options.compile, options.log_to)
    say(f"arguments: {vars(options)}")
    changed = settings.operators or settings.rand_conv or settings.outlier_contrast != 1
    if settings.outlier_space != "pixel" and changed:
        say(
            f"note: with --outlier_space {settings.outlier_space}, --augmix, --jigsaw, --rand_conv and "
            "--outlier_contrast have no effect."
        )
    train(data, settings, files, compute, resume=not options.restart, print_freq=options.print_freq)
    say(f"Duration: {time.perf_counter() - started:.1f} s")


def detect_step(options: argparse.Namespace) -> None:
    """Score the sets that the flags name; several processes share the work when a launcher started them."""
    if options.model_type != "wrn":
        raise unknown("--model_type", options.model_type, ["wrn"])
    settings = DetectSettings(
        root=paths.work_folder(options.output_dir),
        model_type=options.model_type,
        in_dataset=options.in_dataset,
        out_test_dataset=options.out_test_dataset,
        run=options.dir_name,
        m_in=options.m_in,
        m_out=options.m_out,
        temperature=options.T,
        layers=options.layers,
        widen_factor=options.widen_factor,
        droprate=options.droprate,
        last=options.checkpoint == "last",
        id_part=options.id_part,
        all_classes=options.ood_classes == "all",
        batch_size=options.batch_size,
        seed=options.seed,
        where=DataOptions.of(options),
        record=vars(options),
    )
    with distributed.setup(resolve_device(options.device)) as device:
        detect(settings, Compute(device, options.precision, options.compile))


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

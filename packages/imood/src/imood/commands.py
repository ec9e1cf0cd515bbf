"""What `train.py` does with its flags; `test.py` has a file of its own, `evaluation_step`."""

import argparse
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ood_shared import distributed
from ood_shared.errors import InputError, MissingFileError
from ood_shared.run_model import keep_bench
from ood_shared.training import Compute, settings_from

from imood import launch, modes
from imood.checkpoints import LATEST
from imood.data.registry import NAMED, default_dataset, default_model, loaded, open_task, ratio_of
from imood.data.tasks import SYNTHETIC, Source, Task
from imood.evaluation_step import evaluation_step
from imood.launch import Processes
from imood.metrics import metric_of
from imood.run_files import write_arguments
from imood.settings import Settings, run_folder
from imood.state import saved_seed
from imood.train import scaled_rate, timestamp, train


def train_command(options: argparse.Namespace) -> int | None:
    """`train.py`: start the processes, or be one of them."""
    processes = settings_from(Processes, options)
    first = launch.device_of(processes)
    if not distributed.launched():
        count, gpus = launch.local_processes(processes, first)
        if count > 1 or processes.num_nodes > 1:
            return launch.launch(options.words, processes, count, gpus)
    with launch.joined(processes, first) as device, one_line_warnings():
        _train(options, device)
    return None


def test_command(options: argparse.Namespace) -> None:
    """`test.py`; see `evaluation_step`."""
    processes = settings_from(Processes, options)
    with launch.joined(processes, launch.device_of(processes)) as device, one_line_warnings():
        evaluation_step(options, device)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings of this package as one line each, on rank 0 only."""

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if distributed.is_main():
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def _train(options: argparse.Namespace, device: torch.device) -> None:
    root = Path(options.data_root_path)
    dataset = options.dataset or default_dataset(root)
    if options.dataset is None and dataset != "cifar10" and distributed.is_main():
        print(
            f"{root} has no CIFAR-10; training on the embedded {dataset}. Pass --ds cifar10 to download it.", flush=True
        )
    model = options.model or default_model(dataset)
    ratio = ratio_of(options.imbalance_ratio, dataset)
    source = Source(
        dataset, root, ratio, model, device, launch.workers(options.num_workers), options.id_class_number,
        options.num_ood_samples, options.ood_aux_dataset, options.ood_aux,
    )  # fmt: skip
    if options.ood_aux is not None and options.ood_aux_dataset in SYNTHETIC:
        raise InputError(
            f"--ood_aux {options.ood_aux} and --ood_aux_dataset {options.ood_aux_dataset} exclude each other: outliers "
            "of the latter are made of features. Leave one out."
        )
    if options.ood_aux == dataset:
        raise InputError(f"--ood_aux {options.ood_aux} is the ID set: its images cannot be outliers. Name another set.")
    task = loaded(open_task(source, training=True))
    batch = _batch_size(options.batch_size, task, dataset)
    settings = settings_from(
        Settings,
        options,
        dataset=dataset,
        model=model,
        counts=tuple(task.counts),
        ood_aux=str(task.notes["aux_outliers"]) if "aux_outliers" in task.notes else options.ood_aux,
        imbalance_ratio=ratio,
        batch_size=batch,
        lr=scaled_rate(dataset, options.lr, batch),
        decay_epochs=tuple(options.decay_epochs),
        seed=0,
    )
    moment = distributed.gather_objects(timestamp() if options.timestamp else None)[0]
    folder = run_folder(Path(options.save_root_path), settings, task.name, moment)
    if options.output_dir is not None:
        folder = Path(options.output_dir)
        folder = folder.with_name(f"{folder.name}_{moment}") if moment else folder
    keep_bench(folder, "imood", "--output-dir")
    resume = _resumed(options.resume, folder)
    if resume is None and options.resume is not None and distributed.is_main():
        print(f"note: --resume finds nothing in {folder}: the training begins anew", flush=True)
    settings = replace(settings, seed=_seed(options.seed, resume))
    _announce(settings, task)
    idle = _without_effect(settings)
    if idle and distributed.is_main():
        print(f"note: without effect in this training: {', '.join(idle)}", flush=True)

    def on_start() -> None:
        if distributed.is_main():
            if resume is None and (folder / LATEST).is_file():
                warnings.warn(
                    f"{folder} holds an earlier run, which is overwritten; results of its tests stay until test.py "
                    "writes new ones. --resume goes on with a run, --output-dir and --timestamp name another folder.",
                    stacklevel=2,
                )
            hidden = ("words", "debug")
            given = {name: value for name, value in vars(options).items() if name not in hidden}
            write_arguments(folder, given, settings.record())

    compute = Compute(device, settings.precision, options.compile, options.log_to)
    train(task, settings, folder, compute, resume, on_start)
    if distributed.is_main():
        print(f"finished: {folder}", flush=True)


def _without_effect(settings: Settings) -> list[str]:
    """Flags that were changed and that nothing of this training reads."""
    usual = Settings.__dataclass_fields__
    auxiliary = settings.aux_ood_loss
    idle = {
        "T": auxiliary != "pascl",
        "k": auxiliary != "pascl",
        "Lambda2": auxiliary == "none",
        "momentum": settings.opt != "sgd",
        "decay_epochs": settings.decay != "multisteps",
        "maha_capacity": not metric_of(settings.ood_metric).pool and settings.ood_aux_dataset not in SYNTHETIC,
    }
    return [f"--{name}" for name, unread in idle.items() if unread and getattr(settings, name) != usual[name].default]


def _resumed(word: str | None, folder: Path) -> Path | None:
    """The folder that `--resume` goes on with: of the word, or the run's own where something was started there."""
    if word is None:
        return None
    resume = Path(word) if word else folder
    if not resume.is_dir():
        if word:
            raise MissingFileError(f"--resume: {resume} is not a folder.")
        return None
    return resume if word or any(resume.glob("*.p*t*")) else None


def _announce(settings: Settings, task: Task) -> None:
    if not distributed.is_main():
        return
    print(
        f"class counts: {task.counts}; tau (--logit_adjust): {settings.logit_adjust}; seed {settings.seed}", flush=True
    )
    if metric_of(settings.ood_metric).balanced and settings.logit_adjust == 0:
        warnings.warn("ada_ losses with --logit_adjust 0 see a uniform prior: nothing is balanced.", stacklevel=2)
    if settings.ood_aux_dataset in SYNTHETIC and settings.aux_ood_loss == "simclr":
        print("the outliers of the auxiliary loss are synthetic features", flush=True)


def _seed(given: int | None, resume: Path | None) -> int:
    """The given seed; else the one that the continued run had; else one drawn from the system. Equal on all ranks."""
    chosen = given if given is not None else saved_seed(resume)
    drawn = secrets.randbelow(2**31) if chosen is None else chosen
    return int(distributed.gather_objects(drawn)[0])


def _batch_size(given: int | None, task: Task, dataset: str) -> int:
    """The batch size; without the flag it is reduced to what own data have."""
    if given is not None or dataset in NAMED:
        return given or modes.BATCH
    sizes = [len(task.train())] + ([] if task.aux is None else [len(task.aux())])
    size = min(modes.BATCH, *sizes)
    if size < modes.BATCH and distributed.is_main():
        print(
            f"--batch_size: {size}, because there are {sizes[0]} training images and {sizes[-1]} outliers.", flush=True
        )
    return size

"""What `train.py` and `test.py` do with their flags."""

import argparse
import os
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from ood_shared import distributed, runs
from ood_shared.devices import maybe_compile
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text

from imood import launch, modes
from imood.checkpoints import BEST, LATEST
from imood.data import user_data
from imood.data.registry import NAMED, default_dataset, default_model, open_task
from imood.data.tasks import SYNTHETIC, Place, Task
from imood.evaluate import TestSettings, evaluate, load_network
from imood.networks import Network
from imood.records import one_line_warnings
from imood.scores import BALANCED, choose_metrics
from imood.settings import Compute, Settings, run_folder
from imood.state import saved_seed
from imood.train import scaled_rate, timestamp, train
from imood.validation import Pass

NO_WEIGHTS = (
    "Nothing fills this folder by itself: train first, then pass the run's folder, or copy or link it there "
    "(latest.pth, for maha also id_feats.pth). The README of the original program names a drive folder with the "
    "authors' weights; fetch those with a browser."
)


def train_command(options: argparse.Namespace) -> int | None:
    """`train.py`: start the processes, or be one of them."""
    first = launch.device_of(options)
    if not distributed.launched():
        count, gpus = launch.local_processes(options, first)
        if count > 1 or options.num_nodes > 1:
            return launch.launch(options.words, options, count, gpus)
    with launch.joined(options, first) as device, one_line_warnings():
        _train(options, device)
    return None


def test_command(options: argparse.Namespace) -> None:
    """`test.py`."""
    with launch.joined(options, launch.device_of(options)) as device, one_line_warnings():
        _test(options, device)


def _train(options: argparse.Namespace, device: torch.device) -> None:
    root = Path(options.data_root_path)
    dataset = options.dataset or default_dataset(root)
    if options.dataset is None and dataset != "cifar10" and distributed.is_main():
        print(
            f"{root} has no CIFAR-10; training on the embedded {dataset}. Pass --ds cifar10 to download it.", flush=True
        )
    model = options.model or default_model(dataset)
    ratio = _ratio(options.imbalance_ratio, dataset)
    place = Place(
        dataset, root, ratio, model, device, _workers(options), options.id_class_number, options.num_ood_samples,
        options.ood_aux_dataset, options.ood_aux,
    )  # fmt: skip
    task = _load(open_task(place, training=True))
    batch = _batch_size(options.batch_size, task, dataset)
    settings = Settings(
        dataset=dataset,
        model=model,
        counts=tuple(task.counts),
        ood_metric=options.ood_metric,
        aux_ood_loss=options.aux_ood_loss,
        ood_aux_dataset=options.ood_aux_dataset,
        ood_aux=str(task.notes["aux_outliers"]) if "aux_outliers" in task.notes else options.ood_aux,
        imbalance_ratio=ratio,
        num_ood_samples=options.num_ood_samples,
        id_class_number=options.id_class_number,
        width=options.width,
        epochs=options.epochs,
        batch_size=batch,
        test_batch_size=options.test_batch_size,
        lr=scaled_rate(dataset, options.lr, batch),
        wd=options.wd,
        momentum=options.momentum,
        opt=options.opt,
        decay=options.decay,
        decay_epochs=tuple(options.decay_epochs),
        Lambda=options.Lambda,
        Lambda2=options.Lambda2,
        T=options.T,
        k=options.k,
        logit_adjust=options.logit_adjust,
        maha_capacity=options.maha_capacity,
        save_epochs=options.save_epochs,
        precision=options.precision,
        channels_last=options.channels_last,
    )
    moment = distributed.gather_objects(timestamp() if options.timestamp else None)[0]
    folder = run_folder(Path(options.save_root_path), settings, task.name, moment)
    if options.output_dir is not None:
        folder = Path(options.output_dir)
    resume = None if options.resume is None else Path(options.resume) if options.resume else folder
    if resume is not None and not resume.is_dir():
        if options.resume:
            raise MissingFileError(f"--resume: {resume} is not a folder.")
        resume = None  # nothing was started there yet
    if resume is not None and options.resume == "" and not any(resume.glob("*.p*t*")):
        resume = None
    settings = replace(settings, seed=_seed(options.seed, resume))
    _announce(settings, task)

    def on_start() -> None:
        if distributed.is_main():
            _write_arguments(folder, options, settings)

    train(task, settings, folder, Compute(device, options.compile, options.log_to), resume, on_start)
    if distributed.is_main():
        print(f"finished: {folder}", flush=True)


def _test(options: argparse.Namespace, device: torch.device) -> None:
    if not options.ckpt_path:
        raise InputError(f"--ckpt_path is missing: the folder of the checkpoint. {NO_WEIGHTS}")
    folder = Path(options.ckpt_path)
    source = folder / (LATEST if options.ckpt == "latest" else BEST)
    if not source.is_file():
        raise MissingFileError(f"{source} is missing. {NO_WEIGHTS}")
    trained = runs.read_settings(folder)
    root = Path(options.data_root_path)
    dataset = options.dataset or trained.get("dataset") or default_dataset(root)
    same = dataset == trained.get("dataset")
    model = options.model or (trained.get("model") if same else None) or default_model(dataset)
    ratio = _ratio(options.imbalance_ratio, dataset)
    if options.imbalance_ratio is None and same:
        ratio = trained.get("imbalance_ratio", ratio)
    aux = trained.get("ood_aux") if same else None
    place = Place(
        dataset, root, ratio, model, device, _workers(options), options.id_class_number, options.num_ood_samples,
        aux=aux, ood_test=options.ood_test,
    )  # fmt: skip
    task = open_task(place, training=False)
    if aux is not None and aux in (options.ood_test or "").split(","):
        warnings.warn(f"{aux} was trained with and is tested now; its numbers mean little.", stacklevel=2)
    network, notes = load_network(source, model, task.n_classes)
    if same and trained.get("counts") not in (None, task.counts):
        notes.append(f"{source} was trained with the class counts {trained['counts']}, now they are {task.counts}.")
    metrics = choose_metrics(
        options.ood_metric or modes.plain_test_of(trained.get("ood_metric")),
        network.classifier.out_features,
        task.n_classes,
        trained.get("ood_metric"),
    )
    network = network.to(device)
    trained_tau = _trained_tau(trained, folder)
    if options.posterior == "consistent" and "logit_adjust" not in trained:
        notes.append(f"{folder} does not say the tau of the training; --posterior consistent takes 0, as published.")
    if options.posterior == "consistent" and not any(name in BALANCED for name in metrics):
        notes.append("--posterior concerns the ada_ metrics only, and none is asked for.")
    _say_about_test(notes, metrics, options.logit_adjust)
    passing = _passing(options, network, task, device)
    about = {"dataset": dataset, "model": model, "imbalance_ratio": ratio, "ckpt": options.ckpt}
    about |= {"trained": trained.get("ood_metric"), "test_batch_size": options.test_batch_size}
    out = folder if options.output_dir is None else Path(options.output_dir)
    settings = TestSettings(
        metrics, tuple(options.logit_adjust), options.maha_sign, options.posterior, trained_tau, options.seed
    )
    evaluate(task, network, passing, settings, source, out, about, device)


def _trained_tau(trained: Mapping[str, Any], folder: Path) -> float:
    """The prior exponent of the training; 0 where the run does not say it."""
    tau = trained.get("logit_adjust") or 0.0
    if not isinstance(tau, int | float):
        raise InputError(f"{folder}: config.json has logit_adjust {tau!r}; expected a number. Restore the file.")
    return float(tau)


def _passing(options: argparse.Namespace, network: Network, task: Task, device: torch.device) -> Pass:
    if options.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward: Any = maybe_compile(network, options.compile)
    return Pass(forward, task.test_views, options.test_batch_size, device, options.precision, options.channels_last)


def _say_about_test(notes: list[str], metrics: tuple[str, ...], taus: list[float]) -> None:
    if not distributed.is_main():
        return
    for note in notes:
        print(note, flush=True)
    print(f"tau (--logit_adjust): {', '.join(map(str, taus))}", flush=True)
    if 0 in taus and any(name.startswith("ada_") for name in metrics):
        warnings.warn("ada_ metrics with --logit_adjust 0 rank as the plain ones: the prior is uniform.", stacklevel=2)


def _announce(settings: Settings, task: Task) -> None:
    if not distributed.is_main():
        return
    print(
        f"class counts: {task.counts}; tau (--logit_adjust): {settings.logit_adjust}; seed {settings.seed}", flush=True
    )
    if settings.ood_metric.startswith("ada_") and settings.logit_adjust == 0:
        warnings.warn("ada_ losses with --logit_adjust 0 see a uniform prior: nothing is balanced.", stacklevel=2)
    if settings.ood_aux_dataset in SYNTHETIC and settings.aux_ood_loss == "simclr":
        print("the outliers of the auxiliary loss are synthetic features", flush=True)


def _seed(given: int | None, resume: Path | None) -> int:
    """The given seed; else the one that the continued run had; else one drawn from the system. Equal on all ranks."""
    chosen = given if given is not None else saved_seed(resume)
    drawn = secrets.randbelow(2**31) if chosen is None else chosen
    return int(distributed.gather_objects(drawn)[0])


def _ratio(given: float | str | None, dataset: str) -> float | None:
    """Imbalance of the training set: 0.01 for named sets, none for own data, unless told."""
    if given == "asis":
        return 1.0 if dataset in NAMED else None
    if given is None:
        return None if user_data.as_path(dataset) != dataset or "/" in dataset else modes.RATIO
    return float(given)


def _workers(options: argparse.Namespace) -> int:
    """Workers of this process, as the published code divides them; no more than there are cores."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    wanted = options.num_workers if local == 1 else int((options.num_workers + local) / local)
    return min(wanted, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else wanted)


def _load(task: Task) -> Task:
    """The task with training images and outliers read once, so that their number is known."""
    train, aux = task.train(), None if task.aux is None else task.aux()
    return replace(task, train=lambda: train, aux=None if aux is None else lambda: aux)


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


def _write_arguments(folder: Path, options: argparse.Namespace, settings: Settings) -> None:
    """`args.yaml`: all arguments in the order of their declaration, and the folder; `code_version.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = ("words", "debug")
    given = {name: value for name, value in vars(options).items() if name not in hidden}
    resolved = {name: value for name, value in settings.record().items() if name in given}
    text = yaml.safe_dump({**given, **resolved, "save_dir": str(folder)}, sort_keys=False)
    write_text(folder / "args.yaml", text)
    versions = runs.versions()
    write_text(folder / "code_version.txt", "".join(f"{name} {value}\n" for name, value in versions.items()))

"""What `test.py` does with its flags."""

import argparse
import shlex
import warnings
from pathlib import Path
from typing import Any

import torch
from ood_shared import distributed
from ood_shared.devices import lay_out, maybe_compile
from ood_shared.errors import InputError, MissingFileError
from ood_shared.run_model import keep_bench

from imood import launch, modes
from imood.checkpoints import BEST, LATEST, load_network
from imood.data.registry import default_dataset, default_model, open_task, ratio_of
from imood.data.tasks import Source, Task, parse_outliers
from imood.evaluate import TestSettings, evaluate
from imood.metrics import metric_of, plain_test_of
from imood.networks import Network
from imood.passes import Pass
from imood.scores import choose_metrics
from imood.settings import read_run

NO_WEIGHTS = (
    "Nothing fills this folder by itself: train first, then pass the run's folder, or copy or link it there "
    "(latest.pth, for maha also id_feats.pth). The README of the original program names a drive folder with the "
    "authors' weights; fetch those with a browser."
)


def evaluation_step(options: argparse.Namespace, device: torch.device) -> None:
    """Read the run that is tested, settle what its flags leave open, and test it."""
    if not options.ckpt_path:
        raise InputError(f"--ckpt_path is missing: the folder of the checkpoint. {NO_WEIGHTS}")
    folder = Path(options.ckpt_path)
    weights = folder / (LATEST if options.ckpt == "latest" else BEST)
    if not weights.is_file():
        raise MissingFileError(f"{weights} is missing. {NO_WEIGHTS}")
    out = folder if options.output_dir is None else Path(options.output_dir)
    keep_bench(out, "imood", "--output-dir")
    trained = read_run(folder)
    root = Path(options.data_root_path)
    dataset = options.dataset or trained.dataset or default_dataset(root)
    same = dataset == trained.dataset
    model = options.model or (trained.model if same else None) or default_model(dataset)
    ratio = ratio_of(options.imbalance_ratio, dataset)
    if options.imbalance_ratio is None and same:
        ratio = trained.imbalance_ratio
    classes = options.id_class_number
    if classes is None:
        classes = len(trained.counts) if same and dataset == "imagenet" and trained.counts else modes.IMAGENET_CLASSES
    aux = trained.ood_aux if same else None
    source = Source(
        dataset, root, ratio, model, device, launch.workers(options.num_workers), classes,
        options.num_ood_samples, aux=aux, ood_test=options.ood_test,
    )  # fmt: skip
    task = open_task(source, training=False)
    tested = [where for _, where in parse_outliers(options.ood_test)] if options.ood_test else []
    if dataset in tested:
        warnings.warn(f"{dataset} is the ID set and is tested as an OOD set; its numbers mean nothing.", stacklevel=2)
    if aux is not None and aux in tested:
        warnings.warn(f"{aux} was trained with and is tested now; its numbers mean little.", stacklevel=2)
    if trained.counts is not None and len(trained.counts) != task.n_classes:
        raise InputError(
            f"{weights} was trained on {len(trained.counts)} classes, {dataset} has {task.n_classes}. Pass the data "
            "that it was trained on."
        )
    network, notes = load_network(weights, model, task.n_classes)
    if same and trained.counts not in (None, tuple(task.counts)):
        notes.append(
            f"{weights} was trained with the class counts {list(trained.counts or ())}, now they are {task.counts}."
        )
    metrics = choose_metrics(
        options.ood_metric or plain_test_of(trained.ood_metric),
        network.classifier.out_features,
        task.n_classes,
        trained.ood_metric,
    )
    balanced = any(metric_of(name).balanced for name in metrics)
    if options.posterior == "consistent" and trained.logit_adjust is None:
        notes.append(f"{folder} does not say the tau of the training; --posterior consistent takes 0, as published.")
    if options.posterior == "consistent" and not balanced:
        notes.append("--posterior concerns the ada_ metrics only, and none is asked for.")
    _say_about_test(notes, balanced, options.logit_adjust)
    passing = _passing(options, network.to(device), task, device)
    about = {"dataset": dataset, "model": model, "imbalance_ratio": ratio, "ckpt": options.ckpt}
    about |= {"trained": trained.ood_metric, "test_batch_size": options.test_batch_size}
    settings = TestSettings(
        metrics,
        tuple(options.logit_adjust),
        options.maha_sign,
        options.posterior,
        trained.logit_adjust or 0.0,
        options.seed,
        shlex.join(["test.py", *options.words]),
    )
    evaluate(task, network, passing, settings, weights, out, about, device)


def _passing(options: argparse.Namespace, network: Network, task: Task, device: torch.device) -> Pass:
    last = lay_out(network, device, options.channels_last)
    forward: Any = maybe_compile(network, options.compile)
    return Pass(forward, task.test_views, options.test_batch_size, device, options.precision, last)


def _say_about_test(notes: list[str], balanced: bool, taus: list[float]) -> None:
    if not distributed.is_main():
        return
    for note in notes:
        print(note, flush=True)
    print(f"tau (--logit_adjust): {', '.join(map(str, taus))}", flush=True)
    if 0 in taus and balanced:
        warnings.warn("ada_ metrics with --logit_adjust 0 rank as the plain ones: the prior is uniform.", stacklevel=2)

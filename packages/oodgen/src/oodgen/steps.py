"""The first three commands: read the folders, do the step, write the files that the next step reads."""

import argparse
import time
from functools import partial
from pathlib import Path

import torch
from ood_shared import plots
from ood_shared.devices import resolve_device, seed_everything
from ood_shared.errors import InputError

from oodgen import configuration as conf
from oodgen import modes, pictures
from oodgen.classifier import ood_weight_from_counts
from oodgen.data import Pixels, read_generated, read_id, write_generated
from oodgen.outliers import GenerationSettings, Notify, make_outliers
from oodgen.paper import PaperBatches, mixed_order
from oodgen.train import (
    ClassifierSettings,
    Compute,
    VaeSettings,
    run_seed,
    train_classifier,
    train_vae,
)

PUBLISHED_WEIGHT = 6000 / 30000  # of the outlier class, relative to the others, in the published code


def train_vae_step(options: argparse.Namespace) -> None:
    """train_vae.py: train the VAE on `<in_data>/train`, validate on `<in_data>/test`."""
    compute = compute_of(options)
    options.in_data = conf.id_folder(options.in_data, "--in_data")
    options.classes = options.classes or "all"
    options = modes.settle(options, modes.TRAIN_VAE, options.in_data)
    if options.weight_decay is None:
        options.weight_decay = modes.vae_weight_decay(options.opt, options.mode)
    train, test, _ = read_id(options.in_data, options.classes)
    mean, std = modes.normalisation(options.normalize, options.in_data)
    folder = conf.vae_folder(result_root(options.save_path, options))
    settings = VaeSettings(
        n_classes=len(train.classes),
        latent_dim=options.latent_dim,
        architecture=architecture_of(options),
        epochs=options.epochs,
        batch_size=options.batch_size,
        opt=options.opt,
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        loss=options.loss,
        mean=mean,
        std=std,
        save_every=options.save_every,
        seed=run_seed(folder, options.seed, options.resume),
    )
    added = {"architecture": settings.architecture, "normalize_used": [mean, std], "seed_used": settings.seed}
    write = partial(conf.write_configuration, folder, options, train.classes, added)
    _, history = train_vae(train, test, settings, folder, compute, write)
    plots.save(pictures.loss_curve(history), folder / "loss_curve.png")
    print(f"VAE written to {folder}")


def gen_ood_step(options: argparse.Namespace) -> None:
    """gen_ood.py: write outliers of both types for one split to `<data>/ood/<split>/`."""
    compute = compute_of(options)
    if compute.precision != "fp32":
        raise InputError(f"--precision {compute.precision}: the null space needs fp32. Leave the flag out.")
    options.data = conf.id_folder(options.data, "--data")
    source = conf.vae_folder(options.model_path)
    trained = conf.read_configuration(source, options.data)
    options.classes = conf.choose_classes(options.classes, trained, source)
    options = modes.settle(options, modes.GEN_OOD, options.data)
    if options.eps_min > options.eps_max:
        raise InputError(f"--eps_min {options.eps_min} is above --eps_max {options.eps_max}. Swap or change them.")
    file, epoch = conf.model_file(source, options.model_epoch, default=100)
    vae = conf.load_vae(file, trained).to(compute.device)
    train, test, _ = read_id(options.data, options.classes)
    conf.check_classes(train.classes, trained, options.data)
    pixels = train if options.dataset == "train" else test

    scale = trained.encoder_scale
    if options.normalize is not None and trained.loss == "mse":
        scale = modes.normalisation(options.normalize, options.data)
    settings = generation_settings(options, scale, options.mode == "paper" and options.dataset == "test")
    seed = seed_everything(options.seed)
    generator = torch.Generator().manual_seed(seed)
    outliers = make_outliers(vae, pixels, train, settings, generator, _chunk_lines(settings.chunk))
    used = {**conf.recorded(options), "normalize_used": list(scale), "seed_used": seed}
    used |= {"model_file": file.name, "model_epoch_used": epoch}
    folder = write_generated(options.data, options.dataset, outliers.images, outliers.names(), used)
    picture = conf.vae_folder(result_root(options.model_path, options)) / f"ood_samples_{options.dataset}.png"
    plots.save(pictures.sample_grids(pixels.images, outliers, generator), picture)
    print(f"{len(outliers.types)} outliers written to {folder}, a picture of some to {picture}")


def train_classi_step(options: argparse.Namespace) -> None:
    """train_classi.py: train the n+1 classifier on the images and their generated outliers."""
    compute = compute_of(options)
    options.in_data = conf.id_folder(options.in_data, "--in_data")
    root = result_root(options.save_path, options)
    vae_folder = conf.vae_folder(options.save_path)
    paper = options.mode == "paper"
    known = vae_folder.is_dir() and (vae_folder / conf.CONFIGURATION).is_file()
    trained = conf.read_configuration(vae_folder, options.in_data) if paper or known else None
    if trained is not None:
        if options.classes is None and trained.classes != "all":
            print(f"--classes {trained.classes}, as {vae_folder} was trained.")
        options.classes = conf.choose_classes(options.classes, trained, vae_folder)
    options.classes = options.classes or "all"
    options = modes.settle(options, modes.TRAIN_CLASSI, options.in_data)

    train, test, _ = read_id(options.in_data, options.classes)
    generated_test = read_generated(options.in_data, "test", options.ood_types)
    mean, std = modes.normalisation(options.normalize, options.in_data)
    folder = root / conf.CLASSIFIER_FOLDERS[0]
    seed = run_seed(folder, options.seed, options.resume)
    batches: Pixels | PaperBatches
    if paper:
        assert trained is not None
        conf.check_classes(train.classes, trained, options.in_data)
        batches = _paper_batches(options, train, trained, vae_folder, seed, compute)
        n_outliers = len(train)
    else:
        generated = read_generated(options.in_data, "train", options.ood_types)
        batches, n_outliers = train.with_outliers(generated), len(generated)
    settings = ClassifierSettings(
        n_classes=len(train.classes),
        architecture=architecture_of(options),
        epochs=options.epochs,
        batch_size=options.batch_size,
        opt=options.opt,
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        ood_weight=_weight(options.ood_weight, len(train), len(train.classes), n_outliers),
        double_softmax=options.double_softmax,
        mean=mean,
        std=std,
        save_every=options.save_every,
        seed=seed,
    )
    added = {
        "architecture": settings.architecture,
        "normalize_used": [mean, std],
        "seed_used": seed,
        "ood_weight_used": settings.ood_weight,
        "n_train": len(train),
        "n_train_outliers": n_outliers,
    }
    write = partial(conf.write_configuration, folder, options, train.classes, added)
    _, history = train_classifier(batches, test.with_outliers(generated_test), settings, folder, compute, write)
    plots.save(pictures.loss_curve(history), folder / "loss_curve.png")
    plots.save(pictures.accuracy_curve(history), folder / "accuracy_curve.png")
    print(f"Classifier written to {folder}")


def compute_of(options: argparse.Namespace) -> Compute:
    """Device, precision and the rest of the shared flags; `--gpu_id` counts when `--device` is not given."""
    device = resolve_device(options.device, options.gpu_id)
    return Compute(device, options.precision, options.compile, options.log_to, options.resume)


def result_root(given: str, options: argparse.Namespace) -> Path:
    """Where results go: `--output-dir`, else the step's own flag."""
    return Path(options.output_dir or given)


def architecture_of(options: argparse.Namespace) -> str:
    """Which networks a mode takes."""
    return "paper" if options.mode == "paper" else "doc"


def generation_settings(
    options: argparse.Namespace, encoder_scale: tuple[float, float], mixture: bool = False
) -> GenerationSettings:
    """Settings of step 2 from its settled flags."""
    return GenerationSettings(
        latent=options.latent,
        null_space=options.null_space,
        direction=options.direction,
        sign=options.sign,
        eps_min=options.eps_min,
        eps_max=options.eps_max,
        base=options.base,
        class_stats=options.class_stats,
        maha_factor=options.maha_factor,
        chunk=options.batch_size,
        encoder_scale=encoder_scale,
        per_type=options.num_ood,
        mixture=mixture,
    )


def _chunk_lines(chunk: int) -> Notify:
    """Prints a line with the minutes each time another chunk of a type is finished."""
    started = time.perf_counter()
    printed: dict[int, int] = {}

    def notify(which: int, done: int, total: int) -> None:
        number, chunks = -(-done // chunk) if done == total else done // chunk, -(-total // chunk)
        if number > printed.get(which, 0):
            printed[which] = number
            minutes = (time.perf_counter() - started) / 60
            print(f"type {which}  chunk {number}/{chunks}  {minutes:.1f} min", flush=True)

    return notify


def _paper_batches(
    options: argparse.Namespace, train: Pixels, trained: conf.Trained, folder: Path, seed: int, compute: Compute
) -> PaperBatches:
    """The authors' batches, with outliers from the VAE of step 1."""
    empty = argparse.Namespace(**dict.fromkeys(modes.GEN_OOD), mode="paper", classes=options.classes)
    settings = generation_settings(modes.settle(empty, modes.GEN_OOD, options.in_data), trained.encoder_scale)
    vae = conf.load_vae(conf.model_file(folder, None, default=100)[0], trained).to(compute.device)
    return PaperBatches(
        vae,
        mixed_order(train, seed),
        settings,
        batch_size=options.batch_size,
        refresh=modes.experiment(options.in_data, options.classes).refresh,
        generator=torch.Generator().manual_seed(seed),
        device=compute.device,
    )


def _weight(given: str | float, n_images: int, n_classes: int, n_outliers: int) -> float:
    if given == "counts":
        return ood_weight_from_counts(n_images, n_classes, n_outliers)
    return PUBLISHED_WEIGHT if given == "fixed" else float(given)

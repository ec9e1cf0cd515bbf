"""The third command: train the n+1 classifier, on outliers from files or, with `--mode paper`, made while it trains."""

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from ood_shared import plots
from ood_shared.errors import InputError, MissingFileError
from ood_shared.run_model import keep_bench
from ood_shared.training import Compute

from oodgen import checkpoints, configuration, defaults, figures
from oodgen.classifier import ood_weight_from_counts
from oodgen.commands import (
    architecture_of,
    compute_of,
    generation_settings,
    note_momentum,
    result_root,
    warn_of_other_images,
)
from oodgen.configuration import Trained
from oodgen.data.folders import Pixels, read_generated, read_id
from oodgen.paper import PaperBatches, mixed_order
from oodgen.reconstructions import vae_crc32, with_reconstructions
from oodgen.settings import ClassifierSettings
from oodgen.train import run_seed, train_classifier
from oodgen.vae import ConditionalVAE

PUBLISHED_WEIGHT = 6000 / 30000  # of the outlier class, relative to the others, in the published code
CHUNK = defaults.GEN_OOD["batch_size"][2]  # images per chunk of `--class_stats chunk`; here --batch_size is another one


@dataclass(frozen=True)
class _Maker:
    """The VAE of step 1, on the device, which makes outliers or reconstructions here."""

    vae: ConditionalVAE
    encoder_scale: tuple[float, float]
    file: str
    epoch: int

    @classmethod
    def of(cls, folder: Path, trained: Trained | None, train: Pixels, in_data: str, compute: Compute) -> "_Maker":
        """That of a folder; refuses images of other classes than it was trained with."""
        assert trained is not None  # `_trained` has seen to it
        configuration.check_classes(train.classes, trained, in_data)
        warn_of_other_images(train, folder, in_data)
        file, epoch = checkpoints.model_file(folder, None, default=100)
        return cls(checkpoints.load_vae(file, trained).to(compute.device), trained.encoder_scale, file.name, epoch)


def train_classi_step(options: argparse.Namespace) -> None:
    """train_classi.py: train the n+1 classifier on the images and their generated outliers."""
    compute = compute_of(options)
    paper = options.mode == "paper"
    if not paper:
        _drop_generation_flags(options)
    options.in_data = checkpoints.id_folder(options.in_data, "--in_data")
    root = result_root(options.save_path, options)
    keep_bench(root, "oodgen", "--save_path")
    vae_folder = checkpoints.vae_folder(options.save_path)
    trained = _trained(options, vae_folder)
    if trained is not None:
        if options.classes is None and trained.classes != "all":
            print(f"--classes {trained.classes}, as {vae_folder} was trained.")
        options.classes = configuration.choose_classes(options.classes, trained, vae_folder)
    options.classes = options.classes or "all"
    options = defaults.resolve_defaults(options, defaults.TRAIN_CLASSI, options.in_data)
    note_momentum(options)

    train, test, _ = read_id(options.in_data, options.classes)
    generated_test = read_generated(options.in_data, "test", options.ood_types, options.save_path, options.mode)
    mean, std = defaults.normalisation(options.normalize, options.in_data)
    folder = root / checkpoints.CLASSIFIER_FOLDERS[0]
    seed = run_seed(folder, options.seed, options.resume)
    maker = _Maker.of(vae_folder, trained, train, options.in_data, compute) if paper or options.id_recon else None
    shown = with_reconstructions(maker.vae, train, maker.encoder_scale) if maker and options.id_recon else train
    batches: Pixels | PaperBatches
    fingerprint = None
    if maker and paper:
        options, batches = _paper_batches(options, train, shown, maker, seed, compute)
        n_outliers = len(shown)  # as many are drawn in an epoch
    else:
        generated = read_generated(options.in_data, "train", options.ood_types, options.save_path, options.mode)
        batches, n_outliers = shown.with_outliers(generated), len(generated)
        if maker:  # reconstructions may differ in rounding when they are made again
            fingerprint = vae_crc32(maker.vae, train.with_outliers(generated).crc32())
    settings = ClassifierSettings(
        n_classes=len(train.classes),
        architecture=architecture_of(options),
        epochs=options.epochs,
        batch_size=options.batch_size,
        opt=options.opt,
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        ood_weight=_weight(options.ood_weight, len(shown), len(train.classes), n_outliers),
        double_softmax=options.double_softmax,
        id_recon=options.id_recon,
        mean=mean,
        std=std,
        save_every=options.save_every,
        seed=seed,
    )
    added: dict[str, object] = {
        "architecture": settings.architecture,
        "normalize_used": [mean, std],
        "seed_used": seed,
        "ood_weight_used": settings.ood_weight,
        "n_train": len(shown),
        "n_train_reconstructions": len(shown) - len(train),
        "n_train_outliers": n_outliers,
    }
    if maker:
        added |= {"vae_file": maker.file, "vae_epoch_used": maker.epoch}
    write = partial(configuration.write_configuration, folder, options, train.classes, added)
    _, history = train_classifier(
        batches, test.with_outliers(generated_test), settings, folder, compute, write, fingerprint
    )
    plots.save(figures.loss_curve(history), folder / "loss_curve.png")
    plots.save(figures.accuracy_curve(history), folder / "accuracy_curve.png")
    print(f"Classifier written to {folder}")


def _drop_generation_flags(options: argparse.Namespace) -> None:
    """Take the flags of the generation away where the outliers are read from files.

    Raises:
        InputError: one was given.
    """
    for name in defaults.IN_MEMORY:
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name}: with --mode {options.mode} the outliers are read from files. Give the flag to gen_ood.py, "
                "or train with --mode paper, which makes them itself."
            )
        delattr(options, name)


def _trained(options: argparse.Namespace, vae_folder: Path) -> Trained | None:
    """What the VAE of step 1 was trained for; None where there is none and none is needed.

    Raises:
        MissingFileError: there is none, and outliers or reconstructions are to be made with it.
    """
    known = vae_folder.is_dir() and (vae_folder / configuration.CONFIGURATION).is_file()
    if not (known or options.mode == "paper" or options.id_recon):
        return None
    try:
        return configuration.read_configuration(vae_folder, options.in_data)
    except MissingFileError as error:
        needs = "--id_recon needs the VAE: " if options.id_recon else ""
        raise MissingFileError(f"{needs}{error}") from None


def _paper_batches(
    options: argparse.Namespace,
    train: Pixels,
    shown: Pixels,
    maker: _Maker,
    seed: int,
    compute: Compute,
) -> tuple[argparse.Namespace, PaperBatches]:
    """The flags with those of the generation settled, and the authors' batches with outliers made as they say."""
    options = defaults.resolve_defaults(
        options, {name: defaults.GEN_OOD[name] for name in defaults.IN_MEMORY}, options.in_data
    )
    batches = PaperBatches(
        maker.vae,
        mixed_order(train, seed),
        replace(generation_settings(options, CHUNK), encoder_scale=maker.encoder_scale),
        batch_size=options.batch_size,
        refresh=defaults.experiment(options.in_data, options.classes).refresh,
        generator=torch.Generator().manual_seed(seed),
        device=compute.device,
        shown=None if shown is train else mixed_order(shown, seed),
    )
    return options, batches


def _weight(given: str | float, n_images: int, n_classes: int, n_outliers: int) -> float:
    if given == "counts":
        return ood_weight_from_counts(n_images, n_classes, n_outliers)
    return PUBLISHED_WEIGHT if given == "fixed" else float(given)

"""What the four scripts do with their flags: settle defaults, read the folders, do the step, write the step's files.

The third has a file of its own, `classifier_step`. Behind these rooms nobody sees a flag: typed settings go on.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from ood_shared import plots
from ood_shared.datasets import EMBEDDED_OOD, NOISE
from ood_shared.devices import resolve_device, seed_everything
from ood_shared.errors import InputError, MissingFileError
from ood_shared.notes import say
from ood_shared.run_model import keep_bench
from ood_shared.training import Compute

from oodgen import checkpoints, configuration, defaults, figures
from oodgen.data.folders import Pixels, read_id, write_generated
from oodgen.evaluate import GENERATED, HELD_OUT, test
from oodgen.on_manifold import classes_without_spread
from oodgen.outliers import GenerationSettings, Notify, encode_all, make_outliers
from oodgen.settings import TestSettings, VaeSettings
from oodgen.train import run_seed, train_vae
from oodgen.vae import ConditionalVAE

DIGITS_SIDE = 8  # pixels of the embedded digits before they were enlarged


def train_vae_step(options: argparse.Namespace) -> None:
    """train_vae.py: train the VAE on `<in_data>/train`, validate on `<in_data>/test`."""
    compute = compute_of(options)
    keep_bench(result_root(options.save_path, options), "oodgen", "--save_path")
    options.in_data = checkpoints.id_folder(options.in_data, "--in_data")
    options.classes = options.classes or "all"
    options = defaults.resolve_defaults(options, defaults.TRAIN_VAE, options.in_data)
    if options.weight_decay is None:
        options.weight_decay = defaults.vae_weight_decay(options.opt, options.mode)
    note_momentum(options)
    train, test, _ = read_id(options.in_data, options.classes)
    mean, std = defaults.normalisation(options.normalize, options.in_data)
    folder = checkpoints.vae_folder(result_root(options.save_path, options))
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
        patience=options.patience,
        seed=run_seed(folder, options.seed, options.resume),
    )
    added = {"architecture": settings.architecture, "normalize_used": [mean, std], "seed_used": settings.seed}
    write = partial(configuration.write_configuration, folder, options, train.classes, added)
    vae, history = train_vae(train, test, settings, folder, compute, write)
    plots.save(figures.loss_curve(history), folder / "loss_curve.png")
    print(f"VAE written to {folder}")
    _warn_of_dead_encoder(vae, train, (mean, std) if options.loss == "mse" else (0.0, 1.0))


def gen_ood_step(options: argparse.Namespace) -> None:
    """gen_ood.py: write outliers of both types for one split to `<data>/ood/<split>/`."""
    compute = compute_of(options)
    if compute.precision != "fp32":
        raise InputError(f"--precision {compute.precision}: the null space needs fp32. Leave the flag out.")
    options.data = checkpoints.id_folder(options.data, "--data")
    source = checkpoints.vae_folder(options.model_path)
    trained = configuration.read_configuration(source, options.data)
    options.classes = configuration.choose_classes(options.classes, trained, source)
    options = defaults.resolve_defaults(options, defaults.GEN_OOD, options.data)
    settings = generation_settings(options, options.batch_size)
    file, epoch = checkpoints.model_file(source, options.model_epoch, default=100)
    vae = checkpoints.load_vae(file, trained).to(compute.device)
    train, test, _ = read_id(options.data, options.classes)
    configuration.check_classes(train.classes, trained, options.data)
    warn_of_other_images(train, source, options.data)
    pixels = train if options.dataset == "train" else test

    if options.resume:
        say(["--resume has nothing to go on with here: all outliers are made anew"])
    scale = trained.encoder_scale
    if options.normalize is not None and trained.loss != "mse":
        say([f"--normalize {options.normalize} has no effect: a VAE trained with --loss {trained.loss} takes [0, 1]"])
    elif options.normalize is not None:
        scale = defaults.normalisation(options.normalize, options.data)
    mixture = options.mode == "paper" and options.dataset == "test"
    settings = replace(settings, encoder_scale=scale, per_type=options.num_ood, mixture=mixture)
    seed = seed_everything(options.seed)
    generator = torch.Generator().manual_seed(seed)
    outliers = make_outliers(vae, pixels, train, settings, generator, _chunk_lines(settings.chunk))
    used = {**configuration.recorded(options), "normalize_used": list(scale), "seed_used": seed}
    used |= {"model_file": file.name, "model_epoch_used": epoch}
    folder = write_generated(options.data, options.dataset, outliers.images, outliers.names(), used)
    picture = checkpoints.vae_folder(result_root(options.model_path, options)) / f"ood_samples_{options.dataset}.png"
    plots.save(figures.sample_grids(pixels.images, outliers, generator), picture)
    print(f"{len(outliers.types)} outliers written to {folder}, a picture of some to {picture}")


def test_step(options: argparse.Namespace) -> None:
    """test.py: test the classifier on `<in_data>/test` against generated and real outliers."""
    compute = compute_of(options)
    embedded = options.in_data is None and not Path(defaults.DEFAULT_ID).is_dir()
    options.in_data = checkpoints.id_folder(options.in_data, "--in_data")
    folder = checkpoints.find_classifier_folder(options.model_path, options.in_data)
    trained = configuration.read_configuration(folder, options.in_data)
    options.classes = configuration.choose_classes(options.classes, trained, folder)
    both_scores = options.mode == "paper" and options.score is None
    options = defaults.resolve_defaults(options, defaults.TEST, options.in_data)
    keep_bench(result_root(options.save_path, options), "oodgen", "--save_path")
    out_data, native = _outlier_names(options.out_data, embedded)
    settings = TestSettings(
        in_data=options.in_data,
        out_data=out_data,
        native=native,
        classes=options.classes,
        model_path=options.model_path,
        root=result_root(options.save_path, options),
        epoch=options.model_epoch,
        all_epochs=options.all_epochs,
        scores=("one_minus_ood", "max_in") if both_scores else (options.score,),
        average=options.average,
        normalize=options.normalize,
        foreign=options.mode == "compat" and options.normalize is None,
        data_dir=options.data_dir,
        record=configuration.recorded(options),
    )
    test(settings, trained, folder, compute, options.seed)


def _outlier_names(given: str | None, embedded: bool) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """The sets of `--out_data`, and the size to bring them to; without it the documented folder, else embedded sets.

    Raises:
        InputError: no set, one more than once, or one that is called as the results call another.
        MissingFileError: the documented folder is not there.
    """
    native = None
    if given is not None:
        names = _names(given)
        if not names:
            raise InputError("--out_data is empty. Pass a folder, or known names separated by commas.")
    elif Path(defaults.DEFAULT_OOD).is_dir():
        names = [defaults.DEFAULT_OOD]
    elif embedded:
        names, native = [*EMBEDDED_OOD, *NOISE], (DIGITS_SIDE, DIGITS_SIDE)
        print(f"No --out_data given and no {defaults.DEFAULT_OOD}: using the embedded sets and noise.")
    else:
        raise MissingFileError(
            f"Outlier folder {defaults.DEFAULT_OOD} is missing. Pass --out_data with a folder, or names such as "
            f"{', '.join(NOISE)}."
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--out_data names {twice[0]} more than once. Name each set once.")
    taken = [name for name in names if name in (GENERATED, HELD_OUT)]
    if taken:
        raise InputError(f"--out_data {taken[0]}: the results have a set of that name. Pass ./{taken[0]} for a folder.")
    return tuple(names), native


def _names(given: str) -> list[str]:
    """The sets of `--out_data`: one folder, which may have commas in its name, or names separated by commas."""
    return [given] if given and Path(given).exists() else [name.strip() for name in given.split(",") if name.strip()]


def compute_of(options: argparse.Namespace) -> Compute:
    """Device, precision and the rest of the shared flags; `--gpu_id` counts when `--device` is not given."""
    device = resolve_device(options.device, options.gpu_id)
    return Compute(device, options.precision, options.compile, options.log_to, options.resume, options.data_dir)


def result_root(given: str, options: argparse.Namespace) -> Path:
    """Where results go: `--output-dir`, else the step's own flag."""
    return Path(options.output_dir or given)


def note_momentum(options: argparse.Namespace) -> None:
    """One line where a momentum was given that the optimizer does not have."""
    if options.momentum and options.opt == "ada":
        say([f"--momentum {options.momentum:g} has no effect: Adadelta has none"])


def architecture_of(options: argparse.Namespace) -> str:
    """Which networks a mode takes."""
    return "paper" if options.mode == "paper" else "doc"


def generation_settings(options: argparse.Namespace, chunk: int) -> GenerationSettings:
    """How outliers are made, from the settled flags.

    Raises:
        InputError: the distances are no range.
    """
    if options.eps_min > options.eps_max:
        raise InputError(f"--eps_min {options.eps_min} is above --eps_max {options.eps_max}. Swap or change them.")
    return GenerationSettings(
        **{name: getattr(options, name) for name in defaults.IN_MEMORY},
        chunk=chunk,
    )


def warn_of_other_images(train: Pixels, folder: Path, where: str) -> None:
    """One line where a VAE was trained on other images than it is used with; published folders do not tell.

    Args:
        train: the training images that it is used with.
        folder: of the VAE.
        where: the images lie.
    """
    known = checkpoints.remembered(folder).get("data_crc32")
    if known is not None and known != train.crc32():
        print(
            f"warning: {where}/train holds other images than {folder} was trained on (the checksums of the pixels "
            "differ). Its codes of them, and so the outliers, may mean little: pass the data it was trained on, or "
            "train it on these.",
            file=sys.stderr,
        )


def _warn_of_dead_encoder(vae: ConditionalVAE, train: Pixels, encoder_scale: tuple[float, float]) -> None:
    """One line where the images of a class all have the same code, which step 2 has no use for."""
    codes = encode_all(vae, train, GenerationSettings(encoder_scale=encoder_scale), torch.Generator())
    dead = classes_without_spread(codes, train.labels, len(train.classes))
    if dead:
        listed = ", ".join(train.classes[label] for label in dead[:5]) + (", …" if len(dead) > 5 else "")
        print(
            f"warning: the encoder is dead: in {len(dead)} of {len(train.classes)} classes ({listed}) all images have "
            "one code, and gen_ood.py will refuse them. Train again with another --seed, or on more images.",
            file=sys.stderr,
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

"""A comparison from its flags to its report: which methods with which seeds, checked, started, brought together."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_shared.contract import BACKBONES, MIRRORS, NOVEL
from ood_shared.errors import InputError, unknown

from ood_bench import locks, methods
from ood_bench.command import DEFAULT_ID, DEFAULT_NOVEL, DEFAULT_OOD
from ood_bench.conclusion import conclude
from ood_bench.jobs import Run, say
from ood_bench.launchers import choose_launcher, retries

UNSAID = {"backbone": BACKBONES[0], "mirror": MIRRORS[0], "device": "auto", "precision": "fp32"}  # defaults
LOCK_SECONDS = 1.0  # for an ood-bench that is just ending


def compare(command_line: str, options: argparse.Namespace) -> int:
    """Run what the flags name and write the report; returns 0, or 1 when a method failed.

    Args:
        command_line: for the report.
        options: of `ood-bench`.

    Raises:
        InputError: a flag names what is not there, or another `ood-bench` uses the output folder.
    """
    chosen = methods.choose(options.methods)
    _settle_novel(options)
    if options.mirror != MIRRORS[0] and options.backbone != BACKBONES[0]:
        say(
            f"--mirror {options.mirror} concerns the baselines only: with --backbone paper a package does as its paper."
        )
    for name in (options.id, *options.ood):
        _check_set(name)
    folder = Path(options.output_dir)
    runs = _plan(chosen, options, folder)
    launch = choose_launcher(options, chosen, folder)
    with locks.held(folder, LOCK_SECONDS):
        say(f"{len(runs)} run(s): {'; '.join(map(str, runs))}")
        ended = launch(runs, options.resume)
        settings = {**_settings(options, chosen), **retries(options, ended)}
        return conclude(ended, folder, command_line, settings)


def _settle_novel(options: argparse.Namespace) -> None:
    """The classes kept out; the word `novel` among the OOD sets stands for them and is not passed on."""
    if options.novel_classes is None and options.id == DEFAULT_ID:
        options.novel_classes = DEFAULT_NOVEL
    if options.novel_classes is not None and options.novel_classes.lower() == "none":
        options.novel_classes = None
    if NOVEL in options.ood and options.novel_classes is None:
        raise InputError(f"--ood names `{NOVEL}`, but no classes are kept out. Pass --novel-classes.")
    options.ood = [name for name in options.ood if name != NOVEL]
    if not options.ood:
        raise InputError(f"--ood names nothing but `{NOVEL}`. Add a set that is far, such as {DEFAULT_OOD}.")


def _plan(chosen: Sequence[methods.Source], options: argparse.Namespace, folder: Path) -> list[Run]:
    """Every method with every seed. Flags of the user that are not given are not passed on."""
    shared = ["--id", options.id, "--ood", ",".join(options.ood), "--budget", options.budget]
    for flag in ("novel_classes", "backbone", "mirror", "device", "precision", "data_dir"):
        value = getattr(options, flag)
        if value is not None and value != UNSAID.get(flag):
            shared += [f"--{flag.replace('_', '-')}", value]
    for flag in ("compile", "debug"):
        shared += [f"--{flag}"] if getattr(options, flag) else []
    return [
        Run(
            source,
            seed,
            folder / source.name / f"seed-{seed}",
            (*shared, "--seed", str(seed), *source.arguments),
        )
        for source in chosen
        for seed in _seeds_of(options)
    ]


def _settings(options: argparse.Namespace, chosen: Sequence[methods.Source]) -> dict[str, Any]:
    names = (
        "novel_classes",
        "budget",
        "backbone",
        "mirror",
        "device",
        "precision",
        "compile",
        "data_dir",
        "launcher",
        "slurm",
        "isolated",
    )
    return {
        "methods": [method for source in chosen for method in source.methods],
        "id": options.id,
        "ood": options.ood,
        "seeds": _seeds_of(options),
        **{name: getattr(options, name) for name in names},
    }


def _seeds_of(options: argparse.Namespace) -> list[int]:
    return options.seeds or [options.seed or 0]


def _check_set(word: str) -> None:
    """Refuse a mistyped name before every method does, minutes apart. Packages may know sets beyond the registry's."""
    import difflib

    from ood_shared.datasets.registry import ALIASES, known_names

    known = [*known_names(), *ALIASES]
    name = word.lower()
    if name in known or Path(word).expanduser().exists():
        return
    if any(separator in word for separator in "/\\.") or word.startswith("~"):
        raise InputError(f"{word} does not exist: expected a folder or a file of images.")
    without_size = name.rpartition("_")[0]  # bloodmnist_64
    if without_size not in known and difflib.get_close_matches(name, known, n=1, cutoff=0.6):
        raise unknown("Dataset", word, known)

"""A comparison from its flags to its report: which methods with which seeds, checked, started, brought together."""

from collections.abc import Sequence
from pathlib import Path

from ood_shared import locks
from ood_shared.contract import BACKBONES, MIRRORS, PRETRAINED
from ood_shared.errors import InputError, unknown

from ood_bench import methods
from ood_bench.conclusion import conclude
from ood_bench.jobs import Run, say
from ood_bench.launchers import choose_launcher, retries
from ood_bench.settings import Comparison

LOCK_SECONDS = 1.0  # for an ood-bench that is just ending


def compare(command_line: str, asked: Comparison) -> int:
    """Run what is asked for and write the report; returns 0, or 1 when a method failed.

    Args:
        command_line: for the report.
        asked: by the flags of `ood-bench`.

    Raises:
        InputError: something names what is not there, or another `ood-bench` uses the output folder.
    """
    chosen = methods.choose(asked.methods)
    if asked.backbone == PRETRAINED:
        chosen = methods.with_pretrained(chosen, asked.methods)
    if asked.mirror != MIRRORS[0] and asked.backbone not in (BACKBONES[0], PRETRAINED):
        say(f"--mirror {asked.mirror} concerns the baselines only: with --backbone paper a package does as its paper.")
    for name in (asked.id, *asked.ood):
        _check_set(name)
    runs = _plan(chosen, asked)
    launch = choose_launcher(asked, chosen)
    with locks.held(asked.output_dir, LOCK_SECONDS):
        say(f"{len(runs)} run(s): {'; '.join(map(str, runs))}")
        ended = launch(runs, asked.resume)
        settings = asked.record([method for source in chosen for method in source.methods]) | retries(asked, ended)
        return conclude(ended, asked.output_dir, command_line, settings)


def _plan(chosen: Sequence[methods.Source], asked: Comparison) -> list[Run]:
    """Every method with every seed."""
    return [
        Run(
            source,
            seed,
            asked.output_dir / source.name / f"seed-{seed}",
            (*asked.arguments(), "--seed", str(seed), *source.arguments),
        )
        for source in chosen
        for seed in asked.seeds
    ]


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

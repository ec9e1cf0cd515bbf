"""A comparison from its flags to its report: which methods with which seeds, checked, started, brought together."""

from collections.abc import Sequence

from ood_shared import locks
from ood_shared.contract import BACKBONES, MIRRORS, PRETRAINED
from ood_shared.errors import one_line

from ood_bench import methods
from ood_bench.conclusion import conclude
from ood_bench.jobs import say
from ood_bench.launchers import choose_launcher, retries, settled
from ood_bench.looked_at import fetch_known, look_at
from ood_bench.run_folder import Run, is_finished, ran_beside_others
from ood_bench.settings import Comparison

SIDE_BY_SIDE = "Runs went side by side: the times of the methods do not compare."
LOCK_SECONDS = 1.0  # for an ood-bench that is just ending


def compare(command_line: str, asked: Comparison) -> int:
    """Run what is asked for and write the report; returns 0, or 1 when a method failed.

    Args:
        command_line: for the report.
        asked: by the flags of `ood-bench`.

    Raises:
        InputError: something names what is not there and cannot be downloaded, or another `ood-bench` uses the output
            folder.
    """
    looked = look_at(asked)
    chosen = methods.choose(asked.methods)
    if asked.backbone == PRETRAINED:
        chosen = methods.with_pretrained(chosen, asked.methods)
    if asked.mirror != MIRRORS[0] and asked.backbone not in (BACKBONES[0], PRETRAINED):
        say(f"--mirror {asked.mirror} concerns the baselines only: with --backbone paper a package does as its paper.")
    left_out: dict[str, str] = {}
    if looked.classes is not None and len(looked.classes) < 2:
        chosen, left_out = methods.without_classes(chosen, asked.id)
    for note in looked.notes:
        say(f"note: {one_line(note)}")
    for method, reason in left_out.items():
        say(f"left out: {method}: {reason}")
    asked = settled(asked, len(chosen) * len(asked.seeds))
    runs = _plan(chosen, asked)
    launch = choose_launcher(asked, chosen)
    if not (asked.resume and all(map(is_finished, runs))):  # a report needs no images
        fetch_known(asked)
    with locks.held(asked.output_dir, LOCK_SECONDS):
        say(f"{len(runs)} run(s): {'; '.join(map(str, runs))}")
        ended = launch(runs, asked.resume)
        settings = asked.record([method for source in chosen for method in source.methods]) | retries(asked, ended)
        beside = [SIDE_BY_SIDE] if any(ran_beside_others(run) for run in runs) else []
        settings |= {"left_out": left_out, "notes": [*looked.notes, *beside]}
        return conclude(ended, asked.output_dir, command_line, settings)


def _plan(chosen: Sequence[methods.Source], asked: Comparison) -> list[Run]:
    """Every method with every seed."""
    return [
        Run(
            source,
            seed,
            asked.output_dir / source.name / f"seed-{seed}",
            (*asked.arguments(), "--seed", str(seed), *source.arguments),
            asked.threads,
        )
        for source in chosen
        for seed in asked.seeds
    ]

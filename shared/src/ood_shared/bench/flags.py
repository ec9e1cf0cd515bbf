"""The flags of the bench contract and the command that reads them, the same for every package; without torch.

python -m <package>.bench --id NAME|PATH --ood NAME|PATH,… --seed N --budget smoke|quick|full --output-dir DIR
"""

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module

from ood_shared.bench.common import BACKBONES, MIRRORS
from ood_shared.cli import Parser, add_shared_flags, parse_seed_number, run_command

BUDGETS = ("smoke", "quick", "full")
NOVEL = "novel"  # name of the OOD set of classes that are kept out of training


def run_bench(
    work: str,
    schedules: Mapping[str, object],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Answer the command; returns its exit status.

    Args:
        work: module with `bench(options, schedule)`, imported when the flags are good: `--help` does not wait for it.
        schedules: by budget.
        parser: of `bench_parser`, with what the package adds.
        argv: arguments without the program's name; `sys.argv[1:]` when None.
    """

    def command(options: argparse.Namespace) -> None:
        import_module(work).bench(options, schedules[options.budget])

    return run_command(command, parser, argv)


def bench_parser(package: str) -> Parser:
    """The parser of `<package> bench`."""
    parser = Parser(prog=f"{package} bench", description="Train within a budget and score outlier sets.")
    parser.add_argument("--id", required=True, help="in-distribution set: a known name or a path")
    parser.add_argument("--ood", required=True, help="outlier sets: known names or paths, separated by commas")
    parser.add_argument("--novel-classes", default=None, help="classes kept out of training, tested as the set novel")
    parser.add_argument(
        "--budget", default="smoke", choices=BUDGETS, help="smoke: 45 s, quick: 10 min, full: the paper's schedule"
    )
    add_backbone_flags(parser)
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0)
    return parser


def add_backbone_flags(parser: argparse._ActionsContainer) -> None:
    """`--backbone` and `--mirror`, of the packages' benches and of `ood-bench`."""
    parser.add_argument(
        "--backbone",
        default=BACKBONES[0],
        choices=BACKBONES,
        help="common: one small residual network and as many epochs for every method that has a classifier; "
        "paper: the method's own network and schedule (default: common)",
    )
    parser.add_argument(
        "--mirror",
        default=MIRRORS[0],
        choices=MIRRORS,
        help="with --backbone common, whether training images are mirrored left to right half of the time; auto: those "
        "of the known sets of photographs (default: auto)",
    )

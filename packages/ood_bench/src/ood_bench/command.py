"""`ood-bench`: train and compare the methods on the same data, and write one report.

    ood-bench                                           # all methods on embedded data
    ood-bench --methods oodgen --id ./my_scans --ood ./other_site,gaussian --seeds 3 --budget quick

Each method runs as a process, `python -m <package>.bench`, one for every core, one after the other so that their times
compare (`--jobs 1`), or as jobs of a cluster (`launchers`). A method that fails does not stop the others; the exit
status is then 1. Here are the flags; `comparison` does the work and brings torch.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from ood_shared.cli import Parser, add_shared_flags, parse_seed_number, run_command
from ood_shared.contract import BUDGETS, add_backbone_flags, add_image_flags
from ood_shared.errors import InputError
from ood_shared.flags import positive_int

from ood_bench.settings import DEFAULT_FOLDER, DEFAULT_ID, DEFAULT_NOVEL, DEFAULT_OOD, LAUNCHERS, Comparison

NO_WINDOWS = "ood-bench needs process groups, which Windows lacks. Run it on Linux, on macOS, or in Windows' WSL."
MOST_SEEDS = 1000  # a larger --seeds is taken for a seed


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ood-bench`; exit status 0, 1 when a method failed, 2 for bad input, 130 or 143 when stopped."""
    words = sys.argv[1:] if argv is None else list(argv)

    def command(options: argparse.Namespace) -> int:
        if sys.platform.startswith("win"):
            raise InputError(NO_WINDOWS)
        from ood_bench.comparison import compare

        return compare(shlex.join(["ood-bench", *words]), Comparison.from_options(options))

    return run_command(command, _parser(), words)


def _parser() -> Parser:
    parser = Parser(prog="ood-bench", description="train and compare OOD detectors on the same data")
    group = parser.add_argument_group("what is compared")
    add = group.add_argument
    add("--methods", type=_words, metavar="A,B", help="methods to run, or FILE.py:CLASS (default: all installed)")
    add("--id", default=DEFAULT_ID, metavar="NAME|PATH", help=f"in-distribution set (default: {DEFAULT_ID})")
    add("--ood", type=_words, default=_words(DEFAULT_OOD), metavar="A,B", help=f"OOD sets (default: {DEFAULT_OOD})")
    add(
        "--novel-classes",
        metavar="A,B",
        help="classes kept out of ID training, offered as the near OOD set `novel`; none keeps all "
        f"(default: {DEFAULT_NOVEL} of {DEFAULT_ID}, none of other sets)",
    )
    add("--budget", choices=BUDGETS, default="smoke", help="length of training; full is the paper's (default: smoke)")
    add_backbone_flags(group, pretrained=True)
    add_image_flags(group)
    seeds = group.add_mutually_exclusive_group()
    seeds.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N|A,B,…",
        help="how many seeds to run every method with, 0 to N-1, or a list of at least two seeds (default: 1)",
    )
    seeds.add_argument("--seed", type=parse_seed_number, metavar="SEED", help="run every method once, with this seed")
    add("--output-dir", default=DEFAULT_FOLDER, metavar="DIR", help=f"of all files (default: ./{DEFAULT_FOLDER})")
    _add_launcher_flags(parser)
    add_shared_flags(parser, seed=None, skip=("output-dir", "log-to"))
    return parser


def _add_launcher_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is run")
    group.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default=LAUNCHERS[0],
        help="local: on this machine; slurm: every method with every seed as a job of a SLURM cluster, whose nodes see "
        "this folder (default: local)",
    )
    group.add_argument(
        "--jobs",
        type=positive_int,
        metavar="N",
        help="runs at a time on this machine; with more than one the times of the methods do not compare (default: one "
        "for each core, at most 4; one on a GPU)",
    )
    group.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="of each run on a CPU; networks, and so all numbers, depend on it (default: 1, or OMP_NUM_THREADS)",
    )
    group.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="OPTION[=VALUE]",
        help="an option of sbatch by its long name, such as partition=gpu, gpus-per-node=1, mem=8G or time=2:00:00; "
        "may be given several times",
    )
    group.add_argument(
        "--isolated",
        action="store_true",
        help="run each package in an environment of its own, with only it and ood-shared, made by uv in .isolated/",
    )


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f"`{text}` must be different names, separated by single commas")
    return words


def _seeds(text: str) -> list[int]:
    """A number of seeds, or the seeds themselves."""
    seeds = [parse_seed_number(word) for word in _words(text)]
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"`{text}` names a seed twice")
    if len(seeds) > 1:
        return seeds
    if not 1 <= seeds[0] <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a number of seeds from 1 to {MOST_SEEDS}. --seed {text} runs once with that seed"
        )
    return list(range(seeds[0]))

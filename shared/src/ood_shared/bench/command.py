"""`ood-bench`: train and compare the methods on the same data, and write one report.

    ood-bench                                           # all methods on embedded data
    ood-bench --methods oodgen --id ./my_scans --ood ./other_site,gaussian --seeds 3 --budget quick

Each method runs as a process, `python -m <package>.bench`, one after the other, so that their times compare, or as jobs
of a cluster (`launchers`). A method that fails does not stop the others; the exit status is then 1.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ood_shared import files
from ood_shared.bench import leaderboard, locks, methods, page, summary
from ood_shared.bench.common import BACKBONES
from ood_shared.bench.fields import CONVENTION, SCHEMA_VERSION
from ood_shared.bench.flags import BUDGETS, NOVEL, add_backbone_flag
from ood_shared.bench.jobs import Ended, Run, say
from ood_shared.bench.launchers import add_launcher_flags, choose_launcher, retries
from ood_shared.bench.pictures import Pictures, read_pictures
from ood_shared.cli import Parser, add_shared_flags, parse_seed_number, run_command
from ood_shared.errors import InputError, unknown
from ood_shared.report import write_report

DEFAULT_ID, DEFAULT_NOVEL = "digits", "7,8,9"
DEFAULT_OOD = "textures,faces,letters,gaussian,uniform"
DEFAULT_FOLDER = "ood-bench-report"
LOCK_SECONDS = 1.0  # for an ood-bench that is just ending
MOST_SEEDS = 1000  # a larger --seeds is taken for a seed
REPORT, RESULTS, LEADERBOARD = "report.html", "results.json", "leaderboard"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ood-bench`; exit status 0, 1 when a method failed, 2 for bad input, 130 or 143 when stopped."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_command(partial(_bench, shlex.join(["ood-bench", *words])), _parser(), words)


def _parser() -> Parser:
    parser = Parser(prog="ood-bench", description="train and compare OOD detectors on the same data")
    group = parser.add_argument_group("what is compared")
    add = group.add_argument
    add("--methods", type=_words, metavar="A,B", help="methods to run (default: all that are installed)")
    add("--id", default=DEFAULT_ID, metavar="NAME|PATH", help=f"in-distribution set (default: {DEFAULT_ID})")
    add("--ood", type=_words, default=_words(DEFAULT_OOD), metavar="A,B", help=f"OOD sets (default: {DEFAULT_OOD})")
    add(
        "--novel-classes",
        metavar="A,B",
        help="classes kept out of ID training, offered as the near OOD set `novel`; none keeps all "
        f"(default: {DEFAULT_NOVEL} of {DEFAULT_ID}, none of other sets)",
    )
    add("--budget", choices=BUDGETS, default="smoke", help="length of training; full is the paper's (default: smoke)")
    add_backbone_flag(group)
    seeds = group.add_mutually_exclusive_group()
    seeds.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N|A,B,…",
        help="how many seeds to run every method with, 0 to N-1, or a list of at least two seeds (default: 1)",
    )
    seeds.add_argument("--seed", type=parse_seed_number, metavar="SEED", help="run every method once, with this seed")
    add("--output-dir", default=DEFAULT_FOLDER, metavar="DIR", help=f"of all files (default: ./{DEFAULT_FOLDER})")
    add_launcher_flags(parser)
    add_shared_flags(parser, seed=None, skip=("output-dir", "log-to"))
    return parser


def _bench(command_line: str, options: argparse.Namespace) -> int:
    chosen = methods.choose(options.methods)
    _settle_novel(options)
    for name in (options.id, *options.ood):
        _check_set(name)
    folder = Path(options.output_dir)
    runs = _plan(chosen, options, folder)
    launch = choose_launcher(options, chosen, folder)
    absent = methods.not_built() if options.methods is None else []
    later = f"; not built yet: {', '.join(absent)}" if absent else ""
    with locks.held(folder, LOCK_SECONDS):
        say(f"{len(runs)} run(s): {'; '.join(map(str, runs))}{later}")
        ended = launch(runs, options.resume)
        settings = {**_settings(options, chosen), **retries(options, ended)}
        return _conclude(ended, folder, command_line, settings)


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
    for flag in ("novel_classes", "backbone", "device", "precision", "data_dir"):
        value = getattr(options, flag)
        if value is not None and value != {"backbone": BACKBONES[0], "device": "auto", "precision": "fp32"}.get(flag):
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


def _conclude(ended: Sequence[Ended], folder: Path, command_line: str, settings: dict[str, Any]) -> int:
    """Write the report and the JSON, print the tables, and name what failed."""
    results = [result for end in ended for result in end.results]
    failures = {str(end.run): end.failure for end in ended if not end.results}
    records = [record for record, _ in results]
    _write_results(ended, folder, command_line, settings)
    places = leaderboard.leaderboard(results, [NOVEL], np.random.default_rng(0))
    files.write_json(folder / f"{LEADERBOARD}.json", leaderboard.as_json(places))
    files.write_text(folder / f"{LEADERBOARD}.csv", leaderboard.as_csv(places))
    title = f"OOD detection on {settings['id']}"
    pictures = _pictures_of(ended)
    write_report(folder / REPORT, title, page.sections(results, failures, command_line, settings, places, pictures))
    if records:
        print("\n".join(["", *summary.as_lines(records), ""]))
    print(f"report: {folder / REPORT}\nnumbers: {folder / RESULTS}")
    if failures:
        say(f"ood-bench: {len(failures)} of {len(ended)} run(s) failed: {'; '.join(failures)}")
    return 1 if failures else 0


def _pictures_of(ended: Sequence[Ended]) -> dict[str, Pictures | None]:
    """The pictures of each method's first run; a damaged file is named and costs the report no more than these."""
    found: dict[str, Pictures | None] = {}
    for end in ended:
        for (method, folder), (_, scores) in zip(end.run.folders().items(), end.results, strict=False):
            if method not in found:
                try:
                    found[method] = read_pictures(folder, scores)
                except InputError as error:
                    found[method] = None
                    say(f"ood-bench: no pictures of {method}: {error}")
    return found


def _write_results(ended: Sequence[Ended], folder: Path, command_line: str, settings: dict[str, Any]) -> None:
    runs = [
        {
            "method": end.run.source.name,
            "seed": end.run.seed,
            "status": "done" if end.results else "failed",
            "seconds": end.seconds,
            "attempts": end.attempts,
            "folder": end.run.folder.relative_to(folder).as_posix(),
            "failure": list(end.failure),
            "results": [record for record, _ in end.results],
        }
        for end in ended
    ]
    records = [record for end in ended for record, _ in end.results]
    about = {
        "schema_version": SCHEMA_VERSION,
        "score_convention": CONVENTION,
        "finished": time.strftime("%FT%TZ", time.gmtime()),
    }
    about |= {"command_line": command_line, "settings": settings}
    files.write_json(folder / RESULTS, {**about, "summary": summary.as_json(records), "runs": runs})


def _settings(options: argparse.Namespace, chosen: Sequence[methods.Source]) -> dict[str, Any]:
    names = (
        "novel_classes",
        "budget",
        "backbone",
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


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f"`{text}` must be different names, separated by single commas")
    return words


def _seeds(text: str) -> list[int]:
    """A number of seeds, or the seeds themselves."""
    found = [parse_seed_number(word) for word in _words(text)]
    if len(found) > 1:
        return found
    if not 1 <= found[0] <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a number of seeds from 1 to {MOST_SEEDS}. --seed {text} runs once with that seed"
        )
    return list(range(found[0]))


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

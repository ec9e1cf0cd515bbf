"""The verbs that every package has on its own runs, beside the commands of its paper; flags only, without torch.

    oodgen calibrate ./result --id ./unseen_id_images --output model.ood    # a run becomes a file with a threshold
    oodgen score model.ood ./new_images --csv out.csv                       # a row for each image
    oodgen check model.ood ./last_week                                      # is a whole batch shifted?
    oodgen export model.ood --output model.onnx                             # for programs without this project

`ood-bench` leaves such a file beside the scores of every run.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, run_command
from ood_shared.contract import ALARM_RATE, MODEL
from ood_shared.flags import share, whole

FORMATS = ("onnx", "torch")  # of an exported graph
ABOUT = {
    "calibrate": "give a trained run a threshold with a promised alarm rate, and keep it in one file",
    "score": "score images with such a file, a CSV row for each",
    "check": "compare a batch's alarms with the promised rate: is it shifted?",
    "export": "write such a file as one graph (ONNX), where its detector has one",
}
BENCH = "train within a budget and score OOD sets, as ood-bench does"
SKIPPED = ("seed", "resume", "output-dir", "log-to", "precision", "compile")
Command = Callable[[Sequence[str] | None], int]


def verbs(program: str, load: str, told: Mapping[str, str] | None = None) -> dict[str, Command]:
    """The commands `calibrate`, `score`, `check` and `export` of a package, by name.

    Args:
        program: its name, for messages.
        load: module of its function `load`.
        told: further words that `load` takes, and their help: flags. `data_dir` is that of all commands.
    """

    def calibrate(argv: Sequence[str] | None = None) -> int:
        return run_command(
            deferred("ood_shared.calibrating", "calibrate_step"), calibrate_parser(program, load, told or {}), argv
        )

    def score(argv: Sequence[str] | None = None) -> int:
        return run_command(deferred("ood_shared.calibrating", "score_step"), score_parser(program), argv)

    def check(argv: Sequence[str] | None = None) -> int:
        return run_command(deferred("ood_shared.calibrating", "check_step"), check_parser(program), argv)

    def export(argv: Sequence[str] | None = None) -> int:
        return run_command(deferred("ood_shared.calibrating", "export_step"), export_parser(program), argv)

    return {"calibrate": calibrate, "score": score, "check": check, "export": export}


def calibrate_parser(program: str, load: str, told: Mapping[str, str]) -> Parser:
    """Flags of `calibrate`; arguments as in `verbs`."""
    about = "Give a trained run a threshold and keep it in one file. The images must be ID and new to the run."
    parser = Parser(prog=f"{program} calibrate", description=about)
    parser.add_argument(
        "run", metavar="RUN", help=f"what a training left, as {program.replace('-', '_')}.load takes it"
    )
    parser.add_argument(
        "--id",
        required=True,
        metavar="NAME|PATH",
        help="ID images that the run was not trained on: the test split of a known name or of own data, or all of own "
        "data without splits",
    )
    parser.add_argument("--output", default=MODEL, metavar="FILE", help=f"the detector's file (default: {MODEL})")
    parser.add_argument(
        "--alarm-rate",
        type=share,
        default=ALARM_RATE,
        metavar="A",
        help=f"share of images like these that may be flagged (default: {ALARM_RATE})",
    )
    parser.add_argument("--by-class", action="store_true", help="a threshold for every class: the rate holds in each")
    parser.add_argument(
        "--group",
        metavar="N|CSV",
        help="images that belong together, such as a patient's: number of a folder level, or a CSV with `file` and it; "
        "one image of each calibrates, as of each scan",
    )
    for name, text in told.items():
        if name == "data_dir":  # which all commands have
            continue
        parser.add_argument(f"--{name.replace('_', '-')}", default=None, metavar="WORD", help=text)
    add_shared_flags(parser, seed=None, skip=SKIPPED)
    parser.set_defaults(program=program, load=load, told=tuple(told))
    return parser


def score_parser(program: str) -> Parser:
    """Flags of `score`."""
    parser = Parser(prog=f"{program} score", description="Score images; one row of a CSV for each.")
    add_images(parser)
    parser.add_argument("--csv", required=True, metavar="FILE", help="the rows; - is standard output")
    parser.add_argument("--resume", action="store_true", help="go on after the last whole row of the CSV")
    add_shared_flags(parser, seed=None, skip=SKIPPED)
    return parser


def check_parser(program: str) -> Parser:
    """Flags of `check`."""
    parser = Parser(prog=f"{program} check", description="Compare a batch's alarms with the promised rate.")
    add_images(parser)
    add_shared_flags(parser, seed=None, skip=SKIPPED)
    return parser


def export_parser(program: str) -> Parser:
    """Flags of `export`."""
    about = "Write a detector as one graph, from pixels to the decision, for programs without this project."
    parser = Parser(prog=f"{program} export", description=about)
    parser.add_argument("model", metavar="MODEL", help=f"a detector's file, such as {MODEL}")
    parser.add_argument("--output", required=True, metavar="FILE", help="the graph, such as model.onnx or model.pt2")
    parser.add_argument(
        "--format", default=FORMATS[0], choices=FORMATS, help=f"ONNX, or torch.export's (default: {FORMATS[0]})"
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=whole(1, 1 << 14),
        metavar=("H", "W"),
        help="height and width of the images that it will be given (default: those of the training images)",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="of these images, grey or colour (default: as the network's)"
    )
    add_shared_flags(parser, seed=None, skip=(*SKIPPED, "device", "data-dir"))
    return parser


def add_images(parser: argparse.ArgumentParser) -> None:
    """The file, and what to score with it."""
    parser.add_argument("model", metavar="MODEL", help=f"a detector's file, such as {MODEL}")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="NAME|PATH",
        help="images, folders, tar or zip, npz, DICOM and NIfTI files; known names; - reads paths from standard input",
    )

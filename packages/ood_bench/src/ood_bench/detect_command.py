"""`ood-detect`: one calibrated detector for your own images.

    ood-detect fit ./my_images --output model.ood             # no OOD images needed
    ood-detect score model.ood ./new_images --csv out.csv     # a row for each image
    ood-detect explain model.ood scan.png --output out.png    # where it departs from training, and what is nearest
    ood-detect check model.ood ./last_week                    # is a whole batch shifted?
    ood-detect export model.ood --output model.onnx           # one graph, for programs without this project

Here are the flags; `detect` does the work and brings torch.
"""

import argparse
import sys
from collections.abc import Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, dispatch, parse_seed_number, run_command
from ood_shared.contract import ALARM_RATE, BUDGETS, MODEL
from ood_shared.flags import share
from ood_shared.verbs import ABOUT as VERBS
from ood_shared.verbs import check_parser, export_parser, score_parser

PROGRAM = "ood-detect"
DEFAULT_BUDGET = "quick"
SKIPPED = ("resume", "output-dir", "log-to", "precision", "compile")


def fit_parser() -> Parser:
    """Flags of `ood-detect fit`."""
    parser = Parser(prog="ood-detect fit", description="Train and calibrate a detector on ID images; none are OOD.")
    parser.add_argument(
        "id", metavar="NAME|PATH", help="ID images: a known name, a folder, tar, npz, image list or DICOM folder"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the detector, such as model.ood")
    parser.add_argument(
        "--alarm-rate",
        type=share,
        default=ALARM_RATE,
        metavar="A",
        help=f"share of images like yours that may be flagged (default: {ALARM_RATE})",
    )
    parser.add_argument("--by-class", action="store_true", help="a threshold for every class: the rate holds in each")
    parser.add_argument(
        "--backbone",
        metavar="WORD",
        help="network whose maps are measured: train, pretrained, torchvision:NAME, timm:NAME, FILE.onnx, FILE.pt, "
        "MODULE:FUNCTION, PACKAGE@RUN (default: train up to 64 pixels and two classes or more, else pretrained)",
    )
    parser.add_argument(
        "--group",
        metavar="N|CSV",
        help="images that belong together, such as a patient's: number of a folder level, or a CSV with `file` and it",
    )
    parser.add_argument(
        "--one-class", action="store_true", help="folders are not classes, but patients for instance: all are one kind"
    )
    parser.add_argument(
        "--value-range",
        metavar="LOW,HIGH",
        help="values of images of more than 8 bits that become 0 and 255, here and when new images are scored "
        "(default: 0,65535 of 16 bits, and what DICOM and NIfTI files say themselves; others are refused)",
    )
    parser.add_argument("--keep-images", action="store_true", help="keep small copies of the images, for `explain`")
    parser.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="leave out the report on left-out classes and synthetic outliers, which trains twice more",
    )
    length = f"length of a training (default: {DEFAULT_BUDGET})"
    parser.add_argument("--budget", choices=BUDGETS, default=None, help=length)
    parser.add_argument("--mirror", action="store_true", help="a mirrored image still shows its class: photographs")
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0, skip=SKIPPED)
    return parser


def explain_parser() -> Parser:
    """Flags of `ood-detect explain`."""
    parser = Parser(prog="ood-detect explain", description="Show where an image departs from training, as a picture.")
    parser.add_argument("model", metavar="MODEL", help=f"a detector's file, such as {MODEL}")
    _add_backbone(parser)
    parser.add_argument("image", metavar="PATH", help="one image; a slice of a scan by `scan.nii.gz#17`")
    parser.add_argument("--output", required=True, metavar="FILE", help="the picture: .png, .pdf or .svg")
    parser.add_argument("--images", metavar="DIR", help="folder of the training images, to show the nearest of them")
    add_shared_flags(parser, seed=None, skip=(*SKIPPED, "seed", "data-dir"))
    return parser


def with_backbone(parser: Parser) -> Parser:
    """A parser of all packages, with the flag that only this command needs."""
    _add_backbone(parser)
    return parser


def _add_backbone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone", metavar="WORD", help="the network again, where it is code: TorchScript or MODULE:FUNCTION"
    )


def fit_main(argv: Sequence[str] | None = None) -> int:
    """`ood-detect fit`."""
    return run_command(deferred("ood_bench.detect", "fit_step"), fit_parser(), argv)


def score_main(argv: Sequence[str] | None = None) -> int:
    """`ood-detect score`."""
    return run_command(deferred("ood_bench.detect", "score_step"), with_backbone(score_parser(PROGRAM)), argv)


def check_main(argv: Sequence[str] | None = None) -> int:
    """`ood-detect check`."""
    return run_command(deferred("ood_bench.detect", "check_step"), with_backbone(check_parser(PROGRAM)), argv)


def explain_main(argv: Sequence[str] | None = None) -> int:
    """`ood-detect explain`."""
    return run_command(deferred("ood_bench.explain", "explain_step"), explain_parser(), argv)


def export_main(argv: Sequence[str] | None = None) -> int:
    """`ood-detect export`."""
    return run_command(deferred("ood_bench.detect", "export_step"), with_backbone(export_parser(PROGRAM)), argv)


ABOUT = {
    "fit": "train and calibrate a detector on ID images; no OOD images are needed",
    "score": "score images, a CSV row for each",
    "explain": "draw where an image departs from training, and the nearest training images",
    "check": VERBS["check"],
    "export": "write the detector as one graph (ONNX), for programs without this project",
}
COMMANDS = {
    "fit": fit_main,
    "score": score_main,
    "explain": explain_main,
    "check": check_main,
    "export": export_main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `ood-detect`."""
    return dispatch(PROGRAM, COMMANDS, argv, ABOUT)


if __name__ == "__main__":
    sys.exit(main())

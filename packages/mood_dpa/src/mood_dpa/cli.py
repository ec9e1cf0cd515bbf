"""All scripts and the console command `mood-dpa`, with the flags of what trains and scores; nothing imports torch.

`mood-dpa train CONFIG` is `python anomaly_detection/main.py train CONFIG`; beside the documented commands there are
`rescale`, `simclr`, `synthetic-2d`, `expand-cv`, `subjects`, `challenge`, `bench`, and the verbs of all packages
(`ood_shared.verbs`).
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from mood_dpa.data.flags import (
    challenge_parser,
    expand_parser,
    folds_parser,
    rescale_parser,
    save_2d_parser,
    subjects_parser,
    synthetic_2d_parser,
    synthetic_parser,
)
from mood_dpa.flags import add_rescale_flags, add_small_flags
from mood_dpa.standalone import Parser, run_command

ACTIONS = ("train", "evaluate", "inference_evaluate_3d")


def main_parser() -> Parser:
    """Flags of anomaly_detection/main.py."""
    parser = Parser(prog="main.py", description="Train, evaluate, or score volumes, as a YAML configuration says.")
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("config", help="path of a YAML file")
    _run_flags(parser, trains=True)
    return parser


def stage_parser(action: str) -> Parser:
    """Flags of one stage alone; evaluations take several configurations and run them in turn."""
    parser = Parser(prog=f"mood-dpa {action}", description=f"main.py {action}")
    if action == "train":
        parser.add_argument("config", help="path of a YAML file")
    else:
        parser.add_argument("config", nargs="*", help="paths of YAML files, run in turn")
    _run_flags(parser, trains=action == "train")
    return parser


def predict_parser() -> Parser:
    """Flags of predict_3d.py."""
    parser = Parser(prog="predict_3d.py", description="Anomaly maps or scores of a folder of volumes.")
    parser.add_argument("-i", "--input", required=True, help="folder with volumes (*.nii.gz, folders of DICOM)")
    parser.add_argument("-o", "--output", required=True, help="folder for the results; made when missing")
    parser.add_argument("-c", "--config", required=True, help="YAML that names the models")
    parser.add_argument("-m", "--mode", default="pixel", choices=("pixel", "sample"), help="(default: pixel)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="(default: fp32)")
    parser.add_argument("--pictures", action="store_true", help="also draw three-plane overlays and a page with them")
    add_rescale_flags(parser)
    add_small_flags(parser, "--resume", "leave out volumes whose result is there")
    return parser


def simclr_parser() -> Parser:
    """Flags of `mood-dpa simclr`."""
    parser = Parser(prog="mood-dpa simclr", description="Pre-train the features on slices without labels.")
    parser.add_argument("config", help="path of a YAML file")
    _run_flags(parser, pictures=False, trains=True)
    return parser


def main_main(argv: Sequence[str] | None = None) -> int:
    """Run anomaly_detection/main.py."""

    def command(options: argparse.Namespace) -> int | None:
        started = time.perf_counter()
        module, function = _STAGES[options.action]
        status: int | None = getattr(import_module(module), function)(options)
        print(f"{(time.perf_counter() - started) / 60:.2f} minutes")
        return status

    return run_command(command, main_parser(), argv)


def _runner(module: str, function: str, parser: Callable[[], Parser]) -> Callable[[Sequence[str] | None], int]:
    def run(argv: Sequence[str] | None = None) -> int:
        def command(options: argparse.Namespace) -> int | None:
            status: int | None = getattr(import_module(module), function)(options)
            return status

        return run_command(command, parser(), argv)

    return run


def bench_main(argv: Sequence[str] | None = None) -> int:
    """Run `mood-dpa bench`."""
    status: int = import_module("mood_dpa.bench").main(argv)
    return status


_STAGES = {
    "train": ("mood_dpa.commands", "train_step"),
    "evaluate": ("mood_dpa.commands", "evaluate_step"),
    "inference_evaluate_3d": ("mood_dpa.commands", "inference_step"),
}
save_2d_main = _runner("mood_dpa.data.commands", "save_2d_step", save_2d_parser)
folds_main = _runner("mood_dpa.data.commands", "folds_step", folds_parser)
synthetic_main = _runner("mood_dpa.data.commands", "synthetic_step", synthetic_parser)
predict_main = _runner("mood_dpa.predict_folder", "predict_step", predict_parser)

COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "save-2d": save_2d_main,
    "rescale": _runner("mood_dpa.data.commands", "rescale_step", rescale_parser),
    "folds": folds_main,
    "synthetic": synthetic_main,
    "synthetic-2d": _runner("mood_dpa.data.commands", "synthetic_2d_step", synthetic_2d_parser),
    "simclr": _runner("mood_dpa.commands", "simclr_step", simclr_parser),
    **{action: _runner(*_STAGES[action], partial(stage_parser, action)) for action in ACTIONS},
    "predict-3d": predict_main,
    "challenge": _runner("mood_dpa.data.commands", "challenge_step", challenge_parser),
    "expand-cv": _runner("mood_dpa.data.commands", "expand_step", expand_parser),
    "subjects": _runner("mood_dpa.data.commands", "subjects_step", subjects_parser),
    "bench": bench_main,
}
ABOUT = {
    "save-2d": "save_2D.py: cut volumes into slices along an axis",
    "rescale": "bring volumes of any intensities to [0, 1]",
    "folds": "create_folds.py: divide the volumes of a folder into folds",
    "synthetic": "healthy volumes, copies of them with synthetic anomalies, and masks",
    "synthetic-2d": "the same for slices: circles and ellipses",
    "simclr": "train the features on slices without labels",
    "train": "main.py train: an autoencoder of the slices along one axis",
    "evaluate": "main.py evaluate: score slices, one by one",
    "inference_evaluate_3d": "main.py inference_evaluate_3d: maps and scores of volumes along one axis, and their AP",
    "predict-3d": "predict_3d.py: anomaly maps or scores of a folder of volumes",
    "challenge": "the AP of predictions as the MOOD challenge computes it",
    "expand-cv": "the cross-validation grid of an axis from its templates",
    "subjects": "subjects to try all of this with, from the MNI152 template",
}
TOLD = {"features": "VGG19 weights in place of those of the run"}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `mood-dpa`."""
    from ood_shared.cli import dispatch
    from ood_shared.verbs import ABOUT as VERBS
    from ood_shared.verbs import BENCH, verbs

    commands = COMMANDS | verbs("mood-dpa", "mood_dpa.loading", TOLD)
    return dispatch("mood-dpa", commands, argv, ABOUT | {"bench": BENCH} | VERBS)


def _run_flags(parser: Parser, pictures: bool = True, trains: bool = False) -> None:
    from ood_shared.cli import add_shared_flags, parse_seed_number

    if pictures:
        parser.add_argument(
            "--pictures",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="draw three-plane overlays and a page with them when volumes are scored (default: on)",
        )
    add_rescale_flags(parser, rescale=pictures)  # simclr takes slices only
    add_shared_flags(parser, seed=parse_seed_number, skip=("log-to",), trains=trains)


if __name__ == "__main__":
    sys.exit(main())

"""Flags of all scripts and of the console command `mood-dpa`; nothing here imports torch.

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

from mood_dpa.standalone import Parser, run_command

ACTIONS = ("train", "evaluate", "inference_evaluate_3d")


def main_parser() -> Parser:
    """Flags of anomaly_detection/main.py."""
    parser = Parser(prog="main.py", description="Train, evaluate, or score volumes, as a YAML configuration says.")
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("config", help="path of a YAML file")
    _run_flags(parser)
    return parser


def stage_parser(action: str) -> Parser:
    """Flags of one stage alone; evaluations take several configurations and run them in turn."""
    parser = Parser(prog=f"mood-dpa {action}", description=f"main.py {action}")
    if action == "train":
        parser.add_argument("config", help="path of a YAML file")
    else:
        parser.add_argument("config", nargs="*", help="paths of YAML files, run in turn")
    _run_flags(parser)
    return parser


def save_2d_parser() -> Parser:
    """Flags of save_2D.py."""
    parser = Parser(prog="save_2D.py", description="Cut volumes into slices along an axis.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder with volumes (*.nii.gz)")
    parser.add_argument("-o", "--output_dir", required=True, help="folder for the slices; made when missing")
    parser.add_argument("-a", "--axis", required=True, type=int, choices=(0, 1, 2), help="slicing axis")
    parser.add_argument(
        "-f", "--filter", action="store_true", help="Do not save slices where # of non zero pixels < 4000"
    )
    parser.add_argument("-r", "--resize", type=_positive, default=None, help="Resize image while saving")
    parser.add_argument("--least_pixels", type=_positive, default=4000, help="what --filter wants (default: 4000)")
    parser.add_argument(
        "--packed", action="store_true", help="one memory-mapped file per volume instead of a file per slice"
    )
    parser.add_argument(
        "--dtype", default="float16", choices=("float16", "float32"), help="values are cut to this (default: float16)"
    )
    _small_flags(parser, "--resume", "leave out volumes whose slices are there")
    return parser


def folds_parser() -> Parser:
    """Flags of create_folds.py."""
    parser = Parser(prog="create_folds.py", description="Divide the volumes of a folder into folds.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder; its *.gz files are taken")
    parser.add_argument("-o", "--output_path", required=True, help="CSV to write; its folder is made when missing")
    parser.add_argument("-n", "--n_folds", type=int, default=3, help="number of folds (default: 3)")
    _seed_flag(parser)
    _small_flags(parser)
    return parser


def synthetic_parser() -> Parser:
    """Flags of create_val_dataset_with_synthetic_anomalies.py."""
    parser = Parser(
        prog="create_val_dataset_with_synthetic_anomalies.py",
        description="Write healthy volumes, copies of them with synthetic anomalies, and the masks of both.",
    )
    parser.add_argument("-i", "--input_dir", required=True, help="healthy volumes (*.nii.gz)")
    parser.add_argument("-o", "--output_image_dir", required=True, help="folder for the volumes")
    parser.add_argument("-m", "--output_mask_dir", required=True, help="folder for the masks")
    parser.add_argument(
        *("-p", "--folds_path"),
        default=None,
        help='Path to csv file with folds info. Use if you want to create a synthetic dataset only from one "test" '
        "fold of input dataset",
    )
    parser.add_argument(
        *("-f", "--fold"),
        default=None,
        help='# of fold. Use if you want to create a synthetic dataset only from one "test" fold of input dataset',
    )
    _seed_flag(parser)
    parser.add_argument(
        "--axis_order",
        default="array",
        choices=("array", "reference"),
        help="reference: first and last axis of the centres swapped, as published (default: array)",
    )
    _small_flags(parser)
    return parser


def synthetic_2d_parser() -> Parser:
    """Flags of `mood-dpa synthetic-2d`."""
    parser = Parser(prog="mood-dpa synthetic-2d", description="The same for slices: circles and ellipses.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder of slices (*.npy)")
    parser.add_argument("-o", "--output_image_dir", required=True)
    parser.add_argument("-m", "--output_mask_dir", required=True)
    parser.add_argument("-p", "--folds_path", default=None)
    parser.add_argument("-f", "--fold", default=None)
    _seed_flag(parser)
    _small_flags(parser)
    return parser


def predict_parser() -> Parser:
    """Flags of predict_3d.py."""
    parser = Parser(prog="predict_3d.py", description="Anomaly maps or scores of a folder of volumes.")
    parser.add_argument("-i", "--input", required=True, help="folder with volumes (*.nii, *.nii.gz)")
    parser.add_argument("-o", "--output", required=True, help="folder for the results; made when missing")
    parser.add_argument("-c", "--config", required=True, help="YAML that names the models")
    parser.add_argument("-m", "--mode", default="pixel", choices=("pixel", "sample"), help="(default: pixel)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="(default: fp32)")
    parser.add_argument("--pictures", action="store_true", help="also draw three-plane overlays and a page with them")
    _small_flags(parser, "--resume", "leave out volumes whose result is there")
    return parser


def simclr_parser() -> Parser:
    """Flags of `mood-dpa simclr`."""
    parser = Parser(prog="mood-dpa simclr", description="Pre-train the features on slices without labels.")
    parser.add_argument("config", help="path of a YAML file")
    _run_flags(parser, pictures=False)
    return parser


def rescale_parser() -> Parser:
    """Flags of `mood-dpa rescale`."""
    parser = Parser(prog="mood-dpa rescale", description="Bring volumes of any intensities to [0, 1], by percentiles.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder with volumes")
    parser.add_argument("-o", "--output_dir", required=True, help="folder for the results; `_` in names becomes `-`")
    parser.add_argument("--low", type=float, default=0.1, help="percentile that becomes 0 (default: 0.1)")
    parser.add_argument("--high", type=float, default=99.9, help="percentile that becomes 1 (default: 99.9)")
    _small_flags(parser)
    return parser


def expand_parser() -> Parser:
    """Flags of `mood-dpa expand-cv`."""
    parser = Parser(prog="mood-dpa expand-cv", description="Expand the cross-validation grid of an axis.")
    parser.add_argument("meta_train", help="meta_train.yaml; its folder axis_K names the axis")
    parser.add_argument("meta_inference", help="meta_inference_3d.yaml")
    parser.add_argument("out", help="folder for <point>/<fold>/*.yaml")
    parser.add_argument("--axis", type=int, choices=(0, 1, 2), default=None, help="(default: from the folder's name)")
    parser.add_argument("--folds", type=int, nargs="+", default=[0], help="folds (default: 0)")
    _small_flags(parser)
    return parser


def subjects_parser() -> Parser:
    """Flags of `mood-dpa subjects`."""
    parser = Parser(prog="mood-dpa subjects", description="Make subjects from the MNI152 template.")
    parser.add_argument("output_dir", help="folder to fill")
    parser.add_argument("--count", type=_positive, default=20, help="subjects (default: 20)")
    parser.add_argument("--side", type=_positive, default=64, help="voxels per side (default: 64)")
    parser.add_argument("--seed", type=_whole, default=0, help="(default: 0)")
    _small_flags(parser)
    return parser


def challenge_parser() -> Parser:
    """Flags of `mood-dpa challenge`."""
    parser = Parser(prog="mood-dpa challenge", description="Score predictions as the MOOD challenge does.")
    parser.add_argument("labels", help="folder of labels: NIfTI for pixel, *.txt for sample")
    parser.add_argument("predictions", help="folder of predictions")
    parser.add_argument("-m", "--mode", default="pixel", choices=("pixel", "sample"))
    _small_flags(parser)
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
predict_main = _runner("mood_dpa.predict", "predict_step", predict_parser)

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
TOLD = {"features": "VGG19 weights in place of those of the run"}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `mood-dpa`."""
    from ood_shared.cli import dispatch
    from ood_shared.verbs import verbs

    return dispatch("mood-dpa", COMMANDS | verbs("mood-dpa", "mood_dpa.loading", TOLD), argv)


def _run_flags(parser: Parser, pictures: bool = True) -> None:
    from ood_shared.cli import add_shared_flags, parse_seed_number

    if pictures:
        parser.add_argument(
            "--pictures",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="draw three-plane overlays and a page with them when volumes are scored (default: on)",
        )
    add_shared_flags(parser, seed=parse_seed_number, skip=("log-to",))


def _small_flags(parser: Parser, *resume: str) -> None:
    if resume:
        parser.add_argument(resume[0], action="store_true", help=resume[1])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _seed_flag(parser: Parser) -> None:
    parser.add_argument("--seed", type=_whole, default=None, help="seed of the draws (default: left to the system)")


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

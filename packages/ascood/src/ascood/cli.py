"""Flags of all programs. torch is imported when a command runs, so that `--help` does not wait for it.

`ascood train …` is `python main.py …`, `ascood eval_ood …` is `python scripts/eval_ood.py …`, and so on.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from ood_shared.cli import (
    Parser,
    add_shared_flags,
    add_version_flag,
    deferred,
    dispatch,
    parse_seed_number,
    run_command,
)
from ood_shared.flags import MOST_WORKERS, not_negative, positive_int, whole
from ood_shared.verbs import ABOUT as VERBS
from ood_shared.verbs import BENCH, verbs

from ascood import bench
from ascood.overrides import main_parser, read_main

WRAPPERS = ("ASCOODNet", "T2FNormNet")
ARCHS = ("resnet50", "swin-t", "vit-b-16", "regnet")


def eval_parser() -> Parser:
    """Flags of scripts/eval_ood.py."""
    parser = Parser(prog="eval_ood.py", description="Judge trained runs by post-hoc scores, near and far OOD.")
    parser.add_argument("--root", required=True, help="folder with subfolders s*, each holding best.ckpt")
    _score_flags(parser)
    parser.add_argument(
        "--id-data",
        default="cifar10",
        help="cifar10, cifar100, aircraft, imagenet200, imagenet100, cars, waterbirds, celeba, digits; own data as "
        "PATH.yml or folder:PATH (default: cifar10)",
    )
    parser.add_argument("--wrapper-net", default=None, choices=WRAPPERS, help="the head around the backbone, if any")
    parser.add_argument("--network", default=None, help="backbone, where neither config.yml nor --id-data says it")
    parser.add_argument("--drop", action="append", default=[], metavar="SET", help="leave out an OOD set, such as iSUN")
    _evaluation_flags(parser)
    return parser


def imagenet_parser() -> Parser:
    """Flags of scripts/eval_ood_imagenet.py."""
    parser = Parser(prog="eval_ood_imagenet.py", description="Judge one ImageNet-1k network by post-hoc scores.")
    parser.add_argument("--arch", default="resnet50", choices=ARCHS, help="architecture (default: resnet50)")
    parser.add_argument("--tvs-version", type=int, default=1, choices=(1, 2), help="version of torchvision's weights")
    parser.add_argument("--ckpt-path", default=None, help="own weights of a resnet50, instead of --tvs-pretrained")
    parser.add_argument("--tvs-pretrained", action="store_true", help="torchvision's weights; never downloaded here")
    _score_flags(parser)
    _evaluation_flags(parser)
    return parser


def download_parser() -> Parser:
    """Flags of scripts/download/download.py."""
    parser = Parser(prog="download.py", description="Put data sets and checkpoints in place, or say where they are.")
    parser.add_argument(
        "--contents", nargs="+", default=["datasets", "checkpoints"], choices=("datasets", "checkpoints", "weights")
    )
    parser.add_argument("--datasets", nargs="+", default=["default"], help="default, ood_v1.5, ascood, all, or names")
    parser.add_argument("--checkpoints", nargs="+", default=["all"], help="ood, ood_v1.5, ascood, all, or names")
    parser.add_argument("--save_dir", nargs=2, default=["./data", "./results"], metavar=("DATA", "RESULTS"))
    parser.add_argument("--dataset_mode", default="default", choices=("default", "benchmark", "dataset"))
    parser.add_argument(
        "--archives",
        default=None,
        metavar="DIR",
        help="folder with the zip files that a browser has fetched; a file SHA256SUMS there is obeyed",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(parser)
    return parser


def imglist_parser() -> Parser:
    """Flags of `ascood build_imglist`."""
    parser = Parser(prog="ascood build_imglist", description="Image lists and a yml file from a folder of images.")
    parser.add_argument("folder", help="ImageFolder layout: train, val and test, each with a folder for each class")
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument(
        "--ood", action="append", default=[], metavar="NAME=FOLDER", help="an OOD set, near; repeatable"
    )
    parser.add_argument("--far", action="append", default=[], metavar="NAME=FOLDER", help="an OOD set, far; repeatable")
    parser.add_argument("--val-fraction", type=not_negative, default=0.1, help="share of train for a missing val split")
    parser.add_argument("--image-size", type=positive_int, default=None, help="default: 32 for small images, else 224")
    parser.add_argument("--seed", type=parse_seed_number, default=0, help="of the validation split")
    parser.add_argument(
        "--data-dir", default="./data", metavar="DIR", help="where benchmark_imglist is (default: ./data)"
    )
    parser.add_argument("--configs", default="./configs", metavar="DIR", help="where the yml files go")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(parser)
    return parser


def picture_parser() -> Parser:
    """Flags of `ascood picture`."""
    parser = Parser(prog="ascood picture", description="Image, attribution and the outlier of each type, side by side.")
    parser.add_argument("--root", required=True, help="folder of one run, with best.ckpt")
    parser.add_argument("--id-data", default="cifar10", help="as of eval_ood.py (default: cifar10)")
    parser.add_argument("--wrapper-net", default="ASCOODNet", choices=WRAPPERS)
    parser.add_argument("--network", default=None, help="backbone, where neither config.yml nor --id-data says it")
    parser.add_argument("--images", type=positive_int, default=4, help="rows (default: 4)")
    parser.add_argument("--p-inv", type=not_negative, default=0.1, help="share of the values (default: 0.1)")
    parser.add_argument("--alpha", type=not_negative, default=30.0, help="strength of `gradient` (default: 30)")
    parser.add_argument(
        "--gaussian-alpha", type=not_negative, default=0.1, help="strength of `gaussian` (default: 0.1)"
    )
    parser.add_argument("--output", default="outliers.png", help="file of the picture (default: outliers.png)")
    parser.add_argument("--seed", type=parse_seed_number, default=0, help="of the choice of images and of the draws")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--data-dir", default=None, metavar="DIR", help="folder of lists and images")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_version_flag(parser)
    return parser


def _score_flags(parser: Parser) -> None:
    parser.add_argument(
        "--postprocessor", default="msp", help="a score, several separated by commas, or all (default: msp)"
    )
    parser.add_argument("--batch-size", type=positive_int, default=200, help="images per forward pass (default: 200)")
    parser.add_argument("--save-csv", action="store_true", help="write ood/<score>.csv (fsood/… with --fsood)")
    parser.add_argument("--save-score", action="store_true", help="write result.json and scores.npz of each run")
    parser.add_argument("--fsood", action="store_true", help="covariate-shifted ID sets count as ID")


def _evaluation_flags(parser: Parser) -> None:
    parser.add_argument(
        "--no-aps", dest="aps", action="store_false", help="take the yml file's values without a search"
    )
    parser.add_argument("--fresh", action="store_true", help="compute all anew, whatever is stored")
    parser.add_argument("--no-cache", dest="cache", action="store_false", help="store no features and scores")
    parser.add_argument(
        "--num-workers", type=whole(0, MOST_WORKERS), default=8, help="processes that read files (default: 8)"
    )
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0, skip=("resume", "compile", "log-to", "output-dir"))


def main_main(argv: Sequence[str] | None = None) -> int:
    """`python main.py`."""
    words, rest = read_main(sys.argv[1:] if argv is None else argv)
    parser = main_parser()

    def command(options: argparse.Namespace) -> int | None:
        options.overrides = rest
        return deferred("ascood.commands", "main")(options)

    return run_command(command, parser, words)


def _entry(make_parser: Callable[[], Parser], module: str, function: str) -> Callable[[Sequence[str] | None], int]:
    def run(argv: Sequence[str] | None = None) -> int:
        return run_command(deferred(module, function), make_parser(), argv)

    return run


eval_main = _entry(eval_parser, "ascood.evaluate", "eval_ood")
imagenet_main = _entry(imagenet_parser, "ascood.imagenet", "eval_ood_imagenet")
download_main = _entry(download_parser, "ascood.data.download", "download")
imglist_main = _entry(imglist_parser, "ascood.data.imglist", "build")
picture_main = _entry(picture_parser, "ascood.figures", "picture")

TOLD = {
    "score": "a name of --postprocessor (default: that of the run, or msp)",
    "id_data": "as in the other commands: the set that weights without config.yml were trained on",
    "data_dir": "in place of ./data, for runs whose score is fitted to their training images",
}
ABOUT = {
    "train": "main.py: the training or test that the merged yml files name",
    "eval_ood": "post-hoc scores of all runs of a folder, near and far OOD sets",
    "eval_ood_imagenet": "post-hoc scores of one ImageNet-1k network",
    "download": "put data sets and checkpoints in place, or say what is missing and where it belongs",
    "build_imglist": "image lists and a yml file from a folder of images",
    "picture": "image, attribution and the outlier of each type, side by side",
    "bench": BENCH,
    **VERBS,
}
COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "train": main_main,
    "eval_ood": eval_main,
    "eval_ood_imagenet": imagenet_main,
    "download": download_main,
    "build_imglist": imglist_main,
    "picture": picture_main,
    "bench": bench.main,
    **verbs("ascood", "ascood.checkpoints", TOLD),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command."""
    return dispatch("ascood", COMMANDS, argv, ABOUT)

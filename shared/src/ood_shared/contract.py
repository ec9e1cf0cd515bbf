"""The contract of `python -m <package>.bench`: flags, budgets, the training all classifiers have in common.

Without torch: flags are answered before anything heavy is imported.

python -m <package>.bench --id NAME|PATH --ood NAME|PATH,… --seed N --budget smoke|quick|full --output-dir DIR
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from ood_shared.cli import Parser, add_shared_flags, parse_seed_number, run_command
from ood_shared.errors import InputError, unknown
from ood_shared.value_range import Range, parse_range

BUDGETS = ("smoke", "quick", "full")
MOST_SEED = 2**63
NOVEL = "novel"  # name of the OOD set of classes that are kept out of training
BACKBONES = ("common", "paper")
PRETRAINED = "pretrained"  # a backbone of the baselines and the fused detector only
MIRRORS = ("auto", "yes", "no")
MODEL = "model.ood"  # the calibrated detector of a run
ALARM_RATE = 0.05  # of ID images, that it may flag
LR = 2e-3  # of Adam, at the start, where a method brings no optimizer of its own


@dataclass(frozen=True)
class Common:
    """The training of a classifier within a budget; None means all images.

    Attributes:
        train_images: most images to train on.
        test_images: most images of each set to score.
        steps: of the optimizer, about: whole epochs are trained.
        batch_size: ID images in a step.
        network: a name in `ood_shared.backbone.NETWORKS`.
    """

    train_images: int | None
    test_images: int | None
    steps: int
    batch_size: int
    network: str

    def epochs(self, n_train: int) -> int:
        """Passes over `n_train` images that come to about so many steps; at least one."""
        return epochs_of(self.steps, n_train, self.batch_size)


COMMON = {
    "smoke": Common(2000, 1000, 270, 32, "smallresnet10"),
    "quick": Common(10_000, 5000, 1200, 64, "smallresnet10"),
    "full": Common(None, None, 20_000, 128, "smallresnet22"),
}


def epochs_of(steps: int, n_images: int, batch_size: int) -> int:
    """Whole epochs of full batches that come to about so many steps; at least one."""
    return max(1, round(steps / max(1, n_images // batch_size)))


@dataclass(frozen=True)
class Request:
    """What a bench run is asked for, by its flags.

    Attributes:
        id: ID set, a known name or a path.
        ood: OOD sets, separated by commas.
        novel_classes: classes kept out of training, separated by commas; None for none.
        budget: a name in `BUDGETS`.
        backbone: a name in `BACKBONES`, or `PRETRAINED`.
        mirror: a name in `MIRRORS`.
        seed: of everything that is drawn.
        data_dir: where named sets are kept; None for the default.
        group: how ID images belong together (`datasets.groups`); None for each by itself.
        one_class: whether all ID images are one class.
        value_range: `LOW,HIGH` of values of more than 8 bits (`datasets.pixels`); None: 0 to 65535 of 16 bits.
    """

    id: str
    ood: str
    novel_classes: str | None = None
    budget: str = BUDGETS[0]
    backbone: str = BACKBONES[0]
    mirror: str = MIRRORS[0]
    seed: int = 0
    data_dir: str | None = None
    group: str | None = None
    one_class: bool = False
    value_range: str | None = None

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "Request":
        """Of the flags of `bench_parser`; those of `add_image_flags` may be absent."""
        given: dict[str, Any] = {flag.name: getattr(options, flag.name, flag.default) for flag in fields(cls)}
        return cls(**given)

    @property
    def span(self) -> Range | None:
        """The value range as two numbers.

        Raises:
            InputError: it is none.
        """
        if self.value_range is None:
            return None
        return parse_range(self.value_range)

    def __post_init__(self) -> None:
        """Refuse words that are none: another one would train something else without a word.

        Raises:
            InputError: an unknown budget, backbone or mirror, or a seed that is no whole number from 0 on.
        """
        for what, word, known in (
            ("budget", self.budget, BUDGETS),
            ("backbone", self.backbone, (*BACKBONES, PRETRAINED)),
            ("mirror", self.mirror, MIRRORS),
        ):
            if word not in known:
                raise unknown(what, str(word), known)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < MOST_SEED:
            raise InputError(f"The seed is {self.seed!r}; expected a whole number from 0 to 2**63 - 1.")

    @property
    def common(self) -> Common | None:
        """The training that all classifiers have in common; None with `--backbone paper`."""
        return COMMON[self.budget] if self.backbone == "common" else None


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
        if options.output_dir is not None:
            check = import_module("ood_shared.datasets.registry").check_output_folder
            check(options.output_dir, (options.id, *filter(None, options.ood.split(","))))
        import_module(work).bench(options, schedules[options.budget])

    return run_command(command, parser, argv)


def bench_parser(package: str, pretrained: bool = False) -> Parser:
    """The parser of `<package> bench`; with `--backbone pretrained` where the method offers it."""
    parser = Parser(prog=f"{package} bench", description="Train within a budget and score outlier sets.")
    parser.add_argument("--id", required=True, help="in-distribution set: a known name or a path")
    parser.add_argument("--ood", required=True, help="outlier sets: known names or paths, separated by commas")
    parser.add_argument("--novel-classes", default=None, help="classes kept out of training, tested as the set novel")
    parser.add_argument(
        "--budget", default="smoke", choices=BUDGETS, help="smoke: 45 s, quick: 10 min, full: the paper's schedule"
    )
    add_backbone_flags(parser, pretrained)
    add_image_flags(parser)
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0)
    return parser


def add_image_flags(parser: argparse._ActionsContainer) -> None:
    """How own images are read and belong together: `--group`, `--one-class` and `--value-range`."""
    parser.add_argument(
        "--group",
        metavar="LEVEL|CSV",
        help="ID images that belong together, such as a patient's, stay on one side of every split and are drawn "
        "together for intervals: the number of a folder level, 1 being the first, or a CSV with the columns `file` and "
        "another one",
    )
    parser.add_argument(
        "--one-class", action="store_true", help="take all ID images as one class, whatever their folders"
    )
    parser.add_argument(
        "--value-range",
        metavar="LOW,HIGH",
        help="values of images of more than 8 bits that become 0 and 255 (default: 0,65535 of 16 bits, and what "
        "DICOM and NIfTI files say themselves; others are refused; below 0: --value-range=-1000,400)",
    )


def add_backbone_flags(parser: argparse._ActionsContainer, pretrained: bool = False) -> None:
    """`--backbone` and `--mirror`, of the packages' benches and of `ood-bench`; `pretrained` where it is offered."""
    more = "; pretrained: ImageNet features at the images' resolution, baselines and fused only" if pretrained else ""
    parser.add_argument(
        "--backbone",
        default=BACKBONES[0],
        choices=(*BACKBONES, PRETRAINED) if pretrained else BACKBONES,
        help="common: one small residual network and as many epochs for every method that has a classifier; "
        f"paper: the method's own network and schedule{more} (default: common)",
    )
    parser.add_argument(
        "--mirror",
        default=MIRRORS[0],
        choices=MIRRORS,
        help="with --backbone common, whether training images are mirrored left to right half of the time; auto: those "
        "of the known sets of photographs (default: auto)",
    )

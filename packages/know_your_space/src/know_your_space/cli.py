"""Flags of the two scripts and of the console command.

`know_your_space train …` is `python train_in_latent_out_pix.py …`, `know_your_space detect …` is
`python ood_detection.py …`; beside them there are `prepare` and `bench`. Defaults are the original's.
"""

from collections.abc import Callable, Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, dispatch, parse_seed_number, run_command
from ood_shared.flags import MOST_WORKERS, data_word, not_negative, number, positive, positive_int, whole
from ood_shared.verbs import ABOUT as VERBS
from ood_shared.verbs import BENCH, verbs

from know_your_space import bench
from know_your_space.data.options import add_data_flags
from know_your_space.data.paths import RUN
from know_your_space.settings import CANVASES, SCHEDULES, SPACES, TrainSettings

SIZES = TrainSettings.rand_conv_sizes


def train_parser() -> Parser:
    """Flags of train_in_latent_out_pix.py."""
    parser = Parser(
        prog="train_in_latent_out_pix.py",
        description="Train a classifier whose energy is calibrated by latent inliers and pixel outliers.",
    )
    flag = parser.add_argument
    flag(
        "--in_dataset",
        type=data_word,
        default="bloodmnist",
        help="ID set: a MedMNIST name, digits, or a path (default: bloodmnist)",
    )
    flag("--model_type", default="wrn", help="backbone; only wrn, a wide residual network (default: wrn)")
    flag(
        "--dist",
        action="store_false",
        help="turns distributed training OFF, in spite of its name. Without the flag a run that torchrun started is "
        "data parallel, and any other run takes one process",
    )
    flag("--distributed", action="store_true", help="insist on a launcher: refuse to train in one process")
    flag("--T", type=number, default=1.0, help="temperature of the energy (default: 1)")
    flag("--m_in", type=number, default=-20.0, help="energy margin of the inliers (default: -20)")
    flag("--m_out", type=number, default=-7.0, help="energy margin of the outliers (default: -7)")
    flag("--beta1", type=not_negative, default=0.1, help="weight of the margin loss (default: 0.1)")
    flag("--print-freq", "-p", type=positive_int, default=10, help="batches between two lines (default: 10)")

    spaces = parser.add_argument_group("inliers and outliers")
    flag = spaces.add_argument
    flag("--inlier_space", default="latent", choices=SPACES, help="where inliers come from (default: latent)")
    flag("--outlier_space", default="pixel", choices=SPACES, help="where outliers come from (default: pixel)")
    flag("--augmix", action="store_true", help="outlier operator: AugMix and then a tile shuffle")
    flag("--jigsaw", action="store_true", help="outlier operator: tile shuffle; with --augmix each has probability 1/2")
    flag("--cutmix", action="store_true", help="accepted, without effect, as in the original")
    flag("--augmix_severity", type=positive_int, default=11, help="severity of AugMix (default: 11)")
    flag(
        "--augmix_canvas",
        default="original",
        choices=CANVASES,
        help="canvas of shears and shifts: 32 pixels, or 224 below severity 5, or the image's own size",
    )
    flag("--rand_conv", action="store_true", help="add 32 randomly convolved images on every second step")
    flag(
        "--rand_conv_kernel_size",
        type=positive_int,
        nargs="+",
        default=list(SIZES),
        help=f"kernel sizes to draw from (default: {' '.join(map(str, SIZES))})",
    )
    flag(
        "--outlier_contrast",
        type=number,
        default=1.0,
        metavar="F",
        help="change the contrast of each pixel outlier by a factor from 1/F to F; 1 leaves it (default: 1)",
    )
    flag("--start_epoch", type=whole(-1), default=2, help="first epoch with the margin loss (default: 2)")
    flag("--sample_number", type=positive_int, default=250, help="features queued of each class (default: 250)")
    flag("--select", type=positive_int, default=64, help="latent samples kept of each class (default: 64)")
    flag("--sample_from", type=positive_int, default=10_000, help="draws that they are kept from (default: 10000)")
    flag("--separate_bn", action="store_true", help="running statistics of batch norm from ID images alone")

    add_data_flags(parser)
    run = parser.add_argument_group("run")
    flag = run.add_argument
    flag("--ckpt_name", default=RUN, help=f"name of the run, of its folder and of its files (default: {RUN})")
    flag("--layers", type=positive_int, default=40, help="depth of the network (default: 40)")
    flag("--widen-factor", type=positive_int, default=2, help="width of the network (default: 2)")
    flag("--droprate", type=number, default=0.3, help="dropout in its blocks (default: 0.3)")
    flag("--epochs", type=positive_int, default=100, help="epochs (default: 100)")
    flag("--batch_size", type=positive_int, default=128, help="images per step and process (default: 128)")
    flag("--lr", type=not_negative, default=1e-3, help="learning rate of Adam at the start (default: 0.001)")
    flag(
        "--lr_schedule",
        default="steps",
        choices=SCHEDULES,
        help="steps halves the rate every 31 epochs, which is what the original does; plateau waits for the "
        "validation loss (default: steps)",
    )
    flag(
        "--num_workers",
        type=whole(0, MOST_WORKERS),
        default=0,
        help="accepted; images lie on the device, no workers are needed",
    )
    flag("--restart", action="store_true", help="begin anew; without it a run with the same name goes on by itself")
    add_shared_flags(parser, seed=parse_seed_number, skip=("data-dir",), trains=True)
    return parser


def detect_parser() -> Parser:
    """Flags of ood_detection.py."""
    parser = Parser(
        prog="ood_detection.py",
        description="Score ID and OOD images by the energy of a trained classifier. In the score files a higher number "
        "means more ID; in result.json, as everywhere in this project, more OOD.",
    )
    flag = parser.add_argument
    flag(
        "--in_dataset",
        type=data_word,
        default="bloodmnist",
        help="ID set: a MedMNIST name, digits, or a path (default: bloodmnist)",
    )
    flag(
        "--out_test_dataset",
        type=data_word,
        default=None,
        metavar="NAME|PATH,…",
        help="OOD sets; the ID set stands for its novel classes (default: the eight MedMNIST sets; for digits and own "
        "data the novel classes and the embedded sets)",
    )
    flag("--model_type", default="wrn", help="backbone; only wrn, a wide residual network (default: wrn)")
    flag("--T", type=positive, default=1.0, help="temperature of the score and in the checkpoint's name (default: 1)")
    flag("--m_in", type=number, default=-20.0, help="only in the name of the checkpoint (default: -20)")
    flag("--m_out", type=number, default=-7.0, help="only in the name of the checkpoint (default: -7)")
    flag("--dir_name", default=RUN, help=f"name of the run, --ckpt_name of the training (default: {RUN})")
    flag("--layers", type=positive_int, default=40, help="depth of the network (default: 40)")
    flag("--widen-factor", type=positive_int, default=2, help="width of the network (default: 2)")
    flag("--droprate", type=number, default=0.3, help="accepted; there is no dropout in scoring")

    scoring = parser.add_argument_group("scoring")
    flag = scoring.add_argument
    flag("--checkpoint", default="last", choices=("last", "best"), help="epoch to score with (default: last)")
    flag(
        "--id_part",
        default="val",
        choices=("val", "test"),
        help="part of the ID set: val as in the original, or the official test split (default: val)",
    )
    flag(
        "--ood_classes",
        default="known",
        choices=("known", "all"),
        help="of another set with a split, its known classes as in the original, or all (default: known)",
    )
    flag("--batch_size", type=positive_int, default=None, help="images per pass (default: 1024 on a GPU, 256 on a CPU)")
    flag(
        "--num_workers",
        type=whole(0, MOST_WORKERS),
        default=0,
        help="accepted; images lie in memory, no workers are needed",
    )
    add_data_flags(parser)
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0, skip=("data-dir",))
    return parser


def prepare_parser() -> Parser:
    """Flags of `know_your_space prepare`."""
    parser = Parser(
        prog="know_your_space prepare",
        description="Write a set in the authors' layout: <data_dir>/<name>/<name>_combined.pkl, three CSV files with "
        "the split, and <name>_manifest.json, which states every assumption.",
    )
    parser.add_argument("name", help="a MedMNIST name, another known name, or the path of own data")
    parser.add_argument(
        "--val",
        default="val",
        choices=("val", "val+test"),
        help="splits of the validation part (default: val)",
    )
    parser.add_argument(
        "--to", default=None, metavar="DIR", help="folder that gets the folder <name> (default: the data folder)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_data_flags(parser)
    skip = ("device", "precision", "compile", "resume", "output-dir", "log-to", "data-dir")
    add_shared_flags(parser, seed=None, skip=skip)
    return parser


def train_main(argv: Sequence[str] | None = None) -> int:
    """Run the training command."""
    return run_command(deferred("know_your_space.commands", "train_step"), train_parser(), argv)


def detect_main(argv: Sequence[str] | None = None) -> int:
    """Run the detection command."""
    return run_command(deferred("know_your_space.commands", "detect_step"), detect_parser(), argv)


def prepare_main(argv: Sequence[str] | None = None) -> int:
    """Run `know_your_space prepare`."""
    return run_command(deferred("know_your_space.data.prepare", "prepare_step"), prepare_parser(), argv)


TOLD = {"checkpoint": "last or best epoch of a run (default: last)"}
ABOUT = {
    "train": "train_in_latent_out_pix.py: a classifier whose energy inliers and outliers calibrate",
    "detect": "ood_detection.py: score ID and OOD sets by the energy of a trained classifier",
    "prepare": "write a set in the authors' layout",
    "bench": BENCH,
    **VERBS,
}
COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "train": train_main,
    "detect": detect_main,
    "prepare": prepare_main,
    "bench": bench.main,
    **verbs("know_your_space", "know_your_space.loading", TOLD),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `know_your_space`."""
    return dispatch("know_your_space", COMMANDS, argv, ABOUT)

"""Flags of `ood_detection.py` and of `know_your_space prepare`."""

from collections.abc import Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, parse_seed_number, run_command
from ood_shared.flags import number, positive, positive_int

from know_your_space.data.options import add_data_flags
from know_your_space.data.paths import RUN


def detect_parser() -> Parser:
    """Flags of ood_detection.py."""
    parser = Parser(
        prog="ood_detection.py",
        description="Score ID and OOD images by the energy of a trained classifier. In the score files a higher number "
        "means more ID; in result.json, as everywhere in this project, more OOD.",
    )
    flag = parser.add_argument
    flag("--in_dataset", default="bloodmnist", help="ID set: a MedMNIST name, digits, or a path (default: bloodmnist)")
    flag(
        "--out_test_dataset",
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
    flag("--num_workers", type=int, default=0, help="accepted; images lie in memory, no workers are needed")
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


def detect_main(argv: Sequence[str] | None = None) -> int:
    """Run the detection command."""
    return run_command(deferred("know_your_space.evaluate", "detect_step"), detect_parser(), argv)


def prepare_main(argv: Sequence[str] | None = None) -> int:
    """Run `know_your_space prepare`."""
    return run_command(deferred("know_your_space.data.prepare", "prepare_step"), prepare_parser(), argv)

"""Flags of the four scripts and of the console command; every default value is in `modes`.

`oodgen train_vae …` is `python train_vae.py …`; beside the four steps there are `prepare` and `bench`.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from ood_shared.cli import Parser, add_shared_flags, deferred, dispatch, parse_seed, run_command
from ood_shared.flags import not_negative, positive, positive_int, truth

from oodgen import bench, modes
from oodgen.modes import DEFAULT_ID, DEFAULT_OOD


def outlier_count(text: str) -> float:
    """A whole number from 1 on, or a fraction between 0 and 1."""
    value = positive(text)
    if value >= 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"`{text}` is neither a whole number nor a fraction below 1")
    return value


def outlier_weight(text: str) -> str | float:
    """`counts`, `fixed` or a number above 0."""
    return text if text in {"counts", "fixed"} else positive(text)


def vae_parser() -> Parser:
    """Flags of train_vae.py (step 1)."""
    parser = Parser(prog="train_vae.py", description="Train the conditional VAE on the in-distribution images.")
    flag = _adder(parser, modes.TRAIN_VAE)
    flag("--epochs", positive_int, "epochs")
    flag("--batch_size", positive_int, "images per step")
    _gpu_flag(parser)
    flag("--lr", positive, "learning rate")
    flag("--opt", str, "optimizer; ada is Adadelta", choices=("rmsprop", "ada"))
    flag("--momentum", not_negative, "momentum of rmsprop")
    _id_flag(parser, "--in_data")
    _save_flag(parser)
    _seed_flag(parser)
    flag("--loss", str, "elbo: binary cross-entropy + KL; mse: the published code", choices=("elbo", "mse"))
    flag("--latent_dim", positive_int, "dimension of the latent space; in paper mode 10 for fmnist")
    parser.add_argument("--weight_decay", type=not_negative, help="default: 0, with --opt ada 0.001")
    flag("--save_every", positive_int, "keep model_<epoch>.pth of every N-th epoch; model.pth is always kept")
    _common_flags(parser, modes.TRAIN_VAE)
    return parser


def generation_parser() -> Parser:
    """Flags of gen_ood.py (step 2)."""
    parser = Parser(prog="gen_ood.py", description="Make outliers off and on the data manifold with a trained VAE.")
    flag = _adder(parser, modes.GEN_OOD)
    flag("--batch_size", positive_int, "images per chunk")
    _epoch_flag(parser, 100)
    _gpu_flag(parser)
    parser.add_argument("--model_path", default="./result", help="folder that train_vae wrote to (default: ./result)")
    _id_flag(parser, "--data")
    parser.add_argument(
        "--dataset",
        default="train",
        choices=("train", "test"),
        help="split to start from and to write (default: train)",
    )
    _seed_flag(parser)
    flag("--latent", str, "latent code: posterior mean or a sample", choices=("mu", "sample"))
    flag(
        "--null_space",
        str,
        "type 1 leaves the manifold at a right angle, or goes anywhere",
        choices=("jacobian", "none"),
    )
    flag("--direction", str, "noise that gives the direction; rref: the authors' basis", choices=_DIRECTIONS)
    flag("--sign", str, "-1 or +1, or anything between as in the published code", choices=("binary", "uniform"))
    flag("--eps_min", not_negative, "least distance of type 1, in pixel units of [0, 1]")
    flag("--eps_max", positive, "greatest distance of type 1")
    flag("--base", str, "type 1 starts from the image or from its reconstruction", choices=("data", "recon"))
    flag("--class_stats", str, "images that the class shells are fitted to", choices=("split", "chunk", "train"))
    flag("--maha_factor", str, "factor of the class covariance; seed is the published one", choices=_FACTORS)
    flag("--num_ood", outlier_count, "outliers per type; below 1 a fraction of the images; default: one per image")
    _common_flags(parser, {"normalize": ("of a VAE trained with mse, as in its training",) * 3})
    return parser


def classifier_parser() -> Parser:
    """Flags of train_classi.py (step 3)."""
    parser = Parser(prog="train_classi.py", description="Train the n+1 classifier on images and generated outliers.")
    flag = _adder(parser, modes.TRAIN_CLASSI)
    flag("--epochs", positive_int, "epochs")
    flag("--batch_size", positive_int, "images per step")
    _gpu_flag(parser)
    flag("--lr", positive, "learning rate")
    flag("--opt", str, "optimizer; ada is Adadelta", choices=("sgd", "ada"))
    flag("--momentum", not_negative, "momentum of sgd")
    _id_flag(parser, "--in_data")
    _save_flag(parser)
    _seed_flag(parser)
    flag("--weight_decay", not_negative, "weight decay")
    flag(
        "--double_softmax",
        truth,
        "cross-entropy of probabilities, as the published code has it",
        nargs="?",
        const=True,
    )
    flag("--ood_weight", outlier_weight, "weight of the outlier class: counts, fixed (0.2) or a number")
    flag("--ood_types", str, "type of the generated outliers to train with", choices=_TYPES)
    flag("--save_every", positive_int, "keep model_<epoch>.pth of every N-th epoch; model.pth is always kept")
    _common_flags(parser, modes.TRAIN_CLASSI)
    return parser


def test_parser() -> Parser:
    """Flags of test.py (step 4)."""
    parser = Parser(prog="test.py", description="Score in-distribution, generated and real outlier images.")
    flag = _adder(parser, modes.TEST)
    _id_flag(parser, "--in_data")
    parser.add_argument(
        "--out_data",
        default=None,
        help=f"folder, or known names and paths, separated by commas (default: {DEFAULT_OOD})",
    )
    _save_flag(parser)
    _epoch_flag(parser, 200)
    parser.add_argument(
        "--model_path", default="./result", help="folder that train_classi wrote to (default: ./result)"
    )
    _seed_flag(parser)
    _gpu_flag(parser)
    flag("--score", str, "what is called the confidence", choices=("one_minus_ood", "max_in", "max_all"))
    flag(
        "--average",
        str,
        "metrics of all images at once, or averaged over batches of 1000",
        choices=("pooled", "batches"),
    )
    flag("--all_epochs", truth, "test the models of all epochs up to --model_epoch", nargs="?", const=True)
    _common_flags(parser, {"normalize": ("as in training", "as in training, outliers by their own", "as in training")})
    return parser


def prepare_parser() -> Parser:
    """Flags of `oodgen prepare`."""
    parser = Parser(prog="oodgen prepare", description="Write a data set as the folder tree that the steps read.")
    parser.add_argument("name", help="a known name (mnist, fmnist, digits, …) or a path")
    parser.add_argument("folder", help="where train/<class>/*.png and test/<class>/*.png go")
    parser.add_argument("--resize", action="store_true", help="turn other sizes and colours into 28 x 28 grey")
    add_shared_flags(parser, skip=("resume", "compile", "precision", "output-dir", "log-to", "device", "seed"))
    return parser


def train_vae_main(argv: Sequence[str] | None = None) -> int:
    """Run step 1."""
    return run_command(deferred("oodgen.steps", "train_vae_step"), vae_parser(), argv)


def gen_ood_main(argv: Sequence[str] | None = None) -> int:
    """Run step 2."""
    return run_command(deferred("oodgen.steps", "gen_ood_step"), generation_parser(), argv)


def train_classi_main(argv: Sequence[str] | None = None) -> int:
    """Run step 3."""
    return run_command(deferred("oodgen.steps", "train_classi_step"), classifier_parser(), argv)


def test_main(argv: Sequence[str] | None = None) -> int:  # noqa: PT028 - the script's name, no test function
    """Run step 4."""
    return run_command(deferred("oodgen.evaluate", "test_step"), test_parser(), argv)


def prepare_main(argv: Sequence[str] | None = None) -> int:
    """Run `oodgen prepare`."""
    return run_command(deferred("oodgen.prepare", "prepare_step"), prepare_parser(), argv)


def bench_main(argv: Sequence[str] | None = None) -> int:
    """Run `oodgen bench`."""
    return bench.main(argv)


COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "train_vae": train_vae_main,
    "gen_ood": gen_ood_main,
    "train_classi": train_classi_main,
    "test": test_main,
    "prepare": prepare_main,
    "bench": bench_main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `oodgen`."""
    return dispatch("oodgen", COMMANDS, argv)


_DIRECTIONS = ("normal", "uniform", "rref")
_FACTORS = ("rank", "cholesky", "seed")
_TYPES = ("both", "1", "2")


def _adder(parser: Parser, values: modes.Values) -> Callable[..., None]:
    """A function that adds a flag whose help line ends with its default in each mode."""

    def add(name: str, kind: Callable[[str], Any], text: str, **kwargs: Any) -> None:
        shown = _defaults(values[name.lstrip("-")])
        parser.add_argument(name, type=kind, default=None, help=f"{text} ({shown})", **kwargs)

    return add


def _defaults(row: tuple[Any, Any, Any]) -> str:
    default, compat, paper = ("by experiment" if callable(value) else value for value in row)
    text = f"default: {default}"
    text += f"; compat: {compat}" if compat != default else ""
    return text + (f"; paper: {paper}" if paper != default else "")


def _gpu_flag(parser: Parser) -> None:
    parser.add_argument("--gpu_id", default=None, help="GPU number; empty or -1 is the CPU; --device wins (default: 0)")


def _id_flag(parser: Parser, name: str) -> None:
    parser.add_argument(
        name, default=None, help=f"in-distribution folder (default: {DEFAULT_ID}, without it the embedded digits)"
    )


def _save_flag(parser: Parser) -> None:
    parser.add_argument("--save_path", default="./result", help="folder for the results (default: ./result)")


def _epoch_flag(parser: Parser, default: int) -> None:
    parser.add_argument(
        "--model_epoch", type=positive_int, default=None, help=f"epoch to load (default: {default}, else the last)"
    )


def _seed_flag(parser: Parser) -> None:
    parser.add_argument("--seed", type=parse_seed, default=None, help="an integer; True is 5; False leaves it open")


def _common_flags(parser: Parser, values: modes.Values) -> None:
    parser.add_argument("--mode", default="default", choices=modes.MODES, help="set of defaults (default: default)")
    parser.add_argument("--compat", dest="mode", action="store_const", const="compat", help="same as --mode compat")
    _adder(parser, values)("--normalize", str, "auto, none, mnist, half or MEAN,STD")
    parser.add_argument(
        "--classes", default=None, help="in-distribution classes A-B by sorted index (default: all, or as trained)"
    )
    add_shared_flags(parser, seed=None)

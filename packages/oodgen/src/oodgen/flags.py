"""Flags that several commands share: what they are called, what they take, and how their help line reads."""

import argparse
from collections.abc import Callable
from typing import Any

from ood_shared.cli import Parser, add_shared_flags, parse_seed
from ood_shared.flags import MOST, data_word, not_negative, positive, positive_int

from oodgen import defaults
from oodgen.defaults import DEFAULT_ID

DIRECTIONS = ("normal", "uniform", "rref")
FACTORS = ("rank", "cholesky", "seed")
TYPES = ("both", "1", "2")


def outlier_count(text: str) -> float:
    """A whole number from 1 on, or a fraction between 0 and 1."""
    value = positive(text)
    if value >= 1 and not (value == int(value) and value <= MOST):
        raise argparse.ArgumentTypeError(f"`{text}` is neither a whole number up to {MOST} nor a fraction below 1")
    return value


def outlier_weight(text: str) -> str | float:
    """`counts`, `fixed` or a number above 0."""
    return text if text in {"counts", "fixed"} else positive(text)


def generation_flags(flag: Callable[..., None]) -> None:
    """How outliers are made: of gen_ood.py, and of train_classi.py where it makes them itself.

    Args:
        flag: adds one, as `adder` and `in_memory_adder` give it.
    """
    flag("--latent", str, "latent code: posterior mean or a sample", choices=("mu", "sample"))
    flag(
        "--null_space",
        str,
        "type 1 leaves the manifold at a right angle, or goes anywhere",
        choices=("jacobian", "none"),
    )
    flag("--direction", str, "noise that gives the direction; rref: the authors' basis", choices=DIRECTIONS)
    flag("--sign", str, "-1 or +1, or anything between as in the published code", choices=("binary", "uniform"))
    flag("--eps_min", not_negative, "least distance of type 1, in pixel units of [0, 1]")
    flag("--eps_max", positive, "greatest distance of type 1")
    flag("--base", str, "type 1 starts from the image or from its reconstruction", choices=("data", "recon"))
    flag("--class_stats", str, "images that the class shells are fitted to", choices=("split", "chunk", "train"))
    flag("--maha_factor", str, "factor of the class covariance; seed is the published one", choices=FACTORS)


def adder(parser: Parser, values: defaults.Values) -> Callable[..., None]:
    """A function that adds a flag whose help line ends with its default in each mode."""

    def add(name: str, kind: Callable[[str], Any], text: str, **kwargs: Any) -> None:
        shown = _defaults(values[name.lstrip("-")])
        parser.add_argument(name, type=kind, default=None, help=f"{text} ({shown})", **kwargs)

    return add


def in_memory_adder(parser: Parser) -> Callable[..., None]:
    """As `adder`, for flags of the generation in train_classi.py: only the paper's mode has them."""

    def add(name: str, kind: Callable[[str], Any], text: str, **kwargs: Any) -> None:
        paper = defaults.GEN_OOD[name.lstrip("-")][2]
        shown = f"only with --mode paper: {'by experiment' if callable(paper) else paper}"
        parser.add_argument(name, type=kind, default=None, help=f"{text} ({shown})", **kwargs)

    return add


def _defaults(row: tuple[Any, Any, Any]) -> str:
    default, compat, paper = ("by experiment" if callable(value) else value for value in row)
    text = f"default: {default}"
    text += f"; compat: {compat}" if compat != default else ""
    return text + (f"; paper: {paper}" if paper != default else "")


def gpu_flag(parser: Parser) -> None:
    """`--gpu_id`."""
    parser.add_argument("--gpu_id", default=None, help="GPU number; empty or -1 is the CPU; --device wins (default: 0)")


def id_flag(parser: Parser, name: str) -> None:
    """The in-distribution folder, under the step's own name."""
    parser.add_argument(
        name,
        type=data_word,
        default=None,
        help=f"in-distribution folder (default: {DEFAULT_ID}, without it the embedded digits)",
    )


def save_flag(parser: Parser) -> None:
    """`--save_path`."""
    parser.add_argument("--save_path", default="./result", help="folder for the results (default: ./result)")


def epoch_flag(parser: Parser, default: int) -> None:
    """`--model_epoch`."""
    parser.add_argument(
        "--model_epoch", type=positive_int, default=None, help=f"epoch to load (default: {default}, else the last)"
    )


def seed_flag(parser: Parser) -> None:
    """`--seed`."""
    parser.add_argument("--seed", type=parse_seed, default=None, help="an integer; True is 5; False leaves it open")


def common_flags(parser: Parser, values: defaults.Values, trains: bool = False) -> None:
    """`--mode`, `--normalize`, `--classes` and what all commands share."""
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--mode", default="default", choices=defaults.MODES, help="set of defaults (default: default)")
    modes.add_argument("--compat", dest="mode", action="store_const", const="compat", help="same as --mode compat")
    words = "auto (mnist for a folder of that name, else half), none, mnist, half or MEAN,STD"
    adder(parser, values)("--normalize", str, words)
    parser.add_argument(
        "--classes", default=None, help="in-distribution classes A-B by sorted index (default: all, or as trained)"
    )
    add_shared_flags(parser, seed=None, trains=trains)

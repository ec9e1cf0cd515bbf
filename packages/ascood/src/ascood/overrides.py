"""Flags of main.py, and how they are told from overrides: whatever is no flag is one, `--seed 1` too."""

from collections.abc import Sequence

from ood_shared.cli import Parser, add_shared_flags

DEFAULT_CONFIGS = (
    "configs/networks/ascood_net.yml",
    "configs/pipelines/train/train_ascood.yml",
    "configs/preprocessors/ascood_preprocessor.yml",
)


def main_parser() -> Parser:
    """Flags of main.py beside the overrides."""
    parser = Parser(
        prog="main.py",
        description="Run the pipeline that the merged yml files name. Every key of them can be overridden: "
        "--optimizer.lr 0.01, --trainer.trainer_args.ood_type shuffle, --seed 1.",
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="FILE.yml", help="yml files, the later ones winning")
    parser.add_argument(
        "--id-data",
        default=None,
        metavar="NAME|folder:PATH|FILE.yml",
        help="puts the data set's yml file first; without --config ASCOOD is trained on it, with the defaults",
    )
    parser.add_argument("--sync-bn", action="store_true", help="batch statistics over all processes (torchrun)")
    parser.add_argument(
        "--deterministic", action="store_true", help="only operations that give the same bits each time"
    )
    add_shared_flags(parser, seed=None, trains=True)
    return parser


def read_main(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are flags of main.py, and the overrides, both in order.

    >>> read_main(["--config", "a.yml", "b.yml", "--a.b", "-4", "--resume", "--seed", "1"])
    (['--config', 'a.yml', 'b.yml', '--resume'], ['--a.b', '-4', '--seed', '1'])
    """
    takes = {option: action.nargs for action in main_parser()._actions for option in action.option_strings}
    flags: list[str] = []
    overrides: list[str] = []
    rest = [word for word in argv if word != " "]  # a line that ends in a backslash and a space gives one
    while rest:
        word = rest.pop(0)
        name = word.split("=")[0]
        if name not in takes:
            overrides.append(word)
            while rest and not rest[0].startswith("--"):
                overrides.append(rest.pop(0))
            continue
        flags.append(word)
        if takes[name] == "+":
            while rest and not rest[0].startswith("--"):
                flags.append(rest.pop(0))
        elif takes[name] is None and "=" not in word and rest:
            flags.append(rest.pop(0))
    return flags, overrides

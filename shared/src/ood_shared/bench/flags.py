"""The flags of the bench contract, the same for every package; without torch.

python -m <package>.bench --id NAME|PATH --ood NAME|PATH,… --seed N --budget smoke|quick|full --output-dir DIR
"""

from ood_shared.cli import Parser, add_shared_flags, parse_seed_number

BUDGETS = ("smoke", "quick", "full")


def bench_parser(package: str) -> Parser:
    """The parser of `<package> bench`."""
    parser = Parser(prog=f"{package} bench", description="Train within a budget and score outlier sets.")
    parser.add_argument("--id", required=True, help="in-distribution set: a known name or a path")
    parser.add_argument("--ood", required=True, help="outlier sets: known names or paths, separated by commas")
    parser.add_argument("--novel-classes", default=None, help="classes kept out of training, tested as the set novel")
    parser.add_argument(
        "--budget", default="smoke", choices=BUDGETS, help="smoke: 45 s, quick: 10 min, full: the paper's schedule"
    )
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0)
    return parser

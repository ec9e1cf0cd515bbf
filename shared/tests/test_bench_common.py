"""What `--backbone common` gives to every classifier."""

import pytest
from ood_shared.bench.common import COMMON, Common
from ood_shared.bench.flags import BUDGETS, bench_parser


def test_every_budget_has_a_common_training():
    assert tuple(COMMON) == BUDGETS


def test_whole_epochs_come_to_about_the_steps():
    common = Common(None, None, 350, 32, "smallresnet10")
    assert common.epochs(1000) == 11  # 31 steps each, 341 together
    assert common.epochs(100_000) == 1
    assert common.epochs(5) == 350  # a batch that is not full is a step


def test_the_bench_of_a_package_takes_the_common_network_unless_told_otherwise():
    parser = bench_parser("own")
    words = ["--id", "digits", "--ood", "faces"]
    assert parser.parse_args(words).backbone == "common"
    assert parser.parse_args([*words, "--backbone", "paper"]).backbone == "paper"
    with pytest.raises(SystemExit):
        parser.parse_args([*words, "--backbone", "own"])

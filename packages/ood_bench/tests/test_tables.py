"""What the tables of the report show around their values."""

import re

import numpy as np
import pytest
from ood_bench import tables
from ood_bench.leaderboard import leaderboard
from ood_bench.summary import rows
from ood_shared.testing.results import result


def of(*runs):
    """Tables of runs, each a method with a seed."""
    results = [result(method, seed, shift=2.0 if method == "a" else 0.5) for method, seed in runs]
    places = leaderboard(results, ["near"], np.random.default_rng(0), 100)
    table = rows([record for record, _ in results])
    return tables.leaderboard(places), tables.side_by_side(places, ["near"]), tables.every_set(places, table, ["near"])


def has_interval(cell):
    return re.search(r"\n\[.+, .+\]$", cell.text) is not None


def test_a_method_that_was_trained_once_has_no_interval_beside_one_that_has():
    board, beside, every = of(("a", 0), ("a", 1), ("b", 0))
    for table in (board, beside):
        first, second = ([cell for cell in row if not isinstance(cell, str)] for row in table.rows)
        assert all(has_interval(cell) for cell in first if cell.text != "–")
        assert not any(has_interval(cell) for cell in second)
        assert "None for a method that was trained once" in table.note
    assert not any(name.startswith("p ") for name in board.header)  # there is no pair to test
    assert "Of b, trained once, over images only." in every.note


def test_with_one_training_of_each_there_is_no_p_and_every_set_says_what_its_intervals_are_over():
    board, beside, every = of(("a", 0), ("b", 0))
    assert not any(name.startswith("p ") for name in board.header)
    assert "95 % interval" not in board.note + beside.note
    assert "95 % interval over resampled test images only" in every.note
    assert all(has_interval(cell) for row in every.rows for cell in row if not isinstance(cell, str))


def test_only_auroc_is_tinted_and_the_more_the_higher():
    board, beside, every = of(("a", 0), ("a", 1), ("b", 0), ("b", 1))
    for table in (board, beside, every):
        for position, name in enumerate(table.header):
            cells = [row[position] for row in table.rows]
            tinted = [getattr(cell, "tint", None) is not None for cell in cells]
            assert all(tinted) if "AUROC" in name or name in ("near (near)", "far (far)") else not any(tinted), name
    tints = [tables._tint(auroc) for auroc in (0.2, 0.5, 0.75, 0.95, 0.995, 0.999, 1.0)]
    assert tints == sorted(tints)
    assert (tints[0], tints[1], tints[-2], tints[-1]) == pytest.approx((0, 0, 1, 1))

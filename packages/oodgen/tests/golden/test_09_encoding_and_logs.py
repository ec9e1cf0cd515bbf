"""09: one-hot labels, running means and the text of the logs."""

import math
from pathlib import Path

import numpy as np
import pytest
from ood_shared.testing.golden import Golden, cases, golden_dir, tensors
from oodgen.run_files import RunningMean, format_row, write_log
from oodgen.vae import one_hot

GOLDEN = Golden(golden_dir("oodgen", Path(__file__).parent))
LABELS, LOGS = GOLDEN.npz("09_onehot"), GOLDEN.json("09_logging")
FIGURES_ATOL, STD_ATOL = 1e-9, 1e-7  # the standard deviation is a small difference of large numbers


def as_row(values: list) -> list:
    return [math.nan if value == "nan" else value for value in values]


@pytest.mark.parametrize("case", cases(LABELS, "*_labels", "*_fixed"))
def test_one_hot_rows_agree(case: str) -> None:
    fixed = LABELS[f"{case}_fixed"]
    np.testing.assert_array_equal(one_hot(*tensors(LABELS, f"{case}_labels"), fixed.shape[1]), fixed)


@pytest.mark.parametrize("case", cases(LABELS, "*_labels", "*_seed"))
def test_the_documented_rows_are_the_columns_of_the_labels_that_occur(case: str) -> None:
    (labels,) = tensors(LABELS, f"{case}_labels")
    found = one_hot(labels, int(labels.max()) + 1)[:, labels.unique()]
    np.testing.assert_array_equal(found, LABELS[f"{case}_seed"])


def trace() -> list[tuple[float, ...]]:
    meter, found = RunningMean(), []
    for value, n in LOGS["meter_updates"]:
        meter.update(value, n)
        found.append((meter.val, meter.avg, meter.sum, meter.count, meter.std))
    return found


@pytest.mark.parametrize(("column", "atol"), list(enumerate([FIGURES_ATOL] * 4 + [STD_ATOL])))
def test_running_mean_agrees_at_every_step(column: int, atol: float) -> None:
    expected = [step[column] for step in LOGS["meter_trace"]]
    np.testing.assert_allclose([step[column] for step in trace()], expected, rtol=0, atol=atol)


def test_log_text_agrees(tmp_path: Path) -> None:
    write_log(tmp_path / "train_loss.log", [as_row(row) for row in LOGS["log_rows"]])
    assert (tmp_path / "train_loss.log").read_bytes().decode() == LOGS["log_text"]


def test_auroc_line_agrees() -> None:
    assert format_row(as_row(LOGS["auroc_row"])) + "\n" == LOGS["auroc_text"]

"""Running means and log lines."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError
from oodgen.run_files import RunningMean, format_row, write_log


def mean_of(*updates: tuple) -> RunningMean:
    meter = RunningMean()
    for value, n in updates:
        meter.update(value, n)
    return meter


def test_the_mean_is_weighted() -> None:
    assert mean_of((1.0, 3), (5.0, 1)).avg == 2.0


def test_the_deviation_is_that_of_the_population() -> None:
    assert mean_of((1.0, 3), (5.0, 1)).std == pytest.approx(math.sqrt(3))


def test_the_deviation_of_equal_values_is_not_below_zero() -> None:
    assert mean_of(*[(0.1, 7)] * 11).std == pytest.approx(0, abs=1e-8)


def test_none_is_skipped() -> None:
    meter = mean_of((2.0, 3), (None, 100))
    assert (meter.avg, meter.count, meter.val) == (2.0, 3, 2.0)


def test_nothing_has_mean_zero() -> None:
    assert (RunningMean().avg, RunningMean().std) == (0.0, 0.0)


def test_nan_stays_nan() -> None:
    meter = mean_of((math.nan, 1), (1.0, 1))
    assert math.isnan(meter.avg)
    assert math.isnan(meter.std)


def test_tensors_are_averaged_in_float64_without_their_graph() -> None:
    value = torch.tensor(0.1, requires_grad=True)
    meter = mean_of(*[(value, 1)] * 1000)
    assert meter.avg == pytest.approx(float(torch.tensor(0.1)), abs=1e-12)


def test_a_mean_goes_on_from_its_state() -> None:
    updates = [(torch.tensor(0.1), 3), (torch.tensor(0.7), 5), (torch.tensor(0.3), 2)]
    whole, first = mean_of(*updates), mean_of(*updates[:1])
    resumed = RunningMean(**first.state())
    for value, n in updates[1:]:
        resumed.update(value, n)
    assert resumed.state() == whole.state()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "001"), (1234, "1234"), (0.5, "0.5000"), (math.nan, "nan"), (-1.0, "-1.0000"), ("a ", "a "), ("", "")],
)
def test_values_are_written_by_their_type(value: object, text: str) -> None:
    assert format_row([value]) == text


@pytest.mark.parametrize(
    "value",
    [torch.tensor(1), torch.tensor(1.0), np.float32(1), np.int64(1), True, None, [1], 1j],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="A log holds int, float and text"):
        format_row([1, value])


@pytest.mark.parametrize("text", ["a\nb", "a\r"])
def test_a_line_break_in_a_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="line break"):
        format_row([text])


def test_a_log_has_one_line_per_record(tmp_path: Path) -> None:
    write_log(tmp_path / "a.log", [(1, 0.25), (2, 0.125)])
    assert (tmp_path / "a.log").read_text() == "001 0.2500\n002 0.1250\n"


def test_a_log_replaces_an_earlier_one(tmp_path: Path) -> None:
    for rows in ([(1, 0.5), (2, 0.5)], [(1, 0.25)]):
        write_log(tmp_path / "a.log", rows)
    assert (tmp_path / "a.log").read_text() == "001 0.2500\n"


def test_a_bad_record_leaves_the_earlier_log(tmp_path: Path) -> None:
    write_log(tmp_path / "a.log", [(1, 0.5)])
    with pytest.raises(InputError):
        write_log(tmp_path / "a.log", [(1, 0.5), (2, torch.tensor(0.5))])
    assert (tmp_path / "a.log").read_text() == "001 0.5000\n"


def test_records_of_different_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 and 3 values"):
        write_log(tmp_path / "a.log", [(1, 0.5), (2, 0.5, 0.5)])


def test_a_log_without_records_is_empty(tmp_path: Path) -> None:
    write_log(tmp_path / "a.log", [])
    assert (tmp_path / "a.log").read_text() == ""

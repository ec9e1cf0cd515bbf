"""The reader of golden vectors and the fill rule."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError, MissingFileError
from ood_shared.testing.golden import (
    Entries,
    Golden,
    cases,
    check_each,
    fan_in_normal,
    fill_state_dict,
    fitting,
    golden_dir,
    hashed_uniform,
    listed,
    names,
    stems,
    tensors,
)
from torch import nn


@pytest.fixture
def no_golden_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOLDEN_DIR", raising=False)


@pytest.mark.usefixtures("no_golden_dir")
def test_the_packages_own_vectors_are_found_without_golden_dir(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert golden_dir("oodgen", tmp_path) == tmp_path / "data"


def test_golden_dir_replaces_the_packages_own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "other" / "oodgen").mkdir(parents=True)
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path / "other"))
    assert golden_dir("oodgen", tmp_path / "tests") == tmp_path / "other" / "oodgen"


def test_a_missing_folder_is_an_error_not_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path / "other"))
    with pytest.raises(MissingFileError, match=r"GOLDEN_DIR is `.*other`"):
        golden_dir("oodgen", tmp_path)


def test_npz_gives_every_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.float64(2.5))
    arrays = Golden(tmp_path).npz("a")
    assert {key: value.tolist() for key, value in arrays.items()} == {"x": [0, 1, 2], "y": 2.5}


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        Golden(tmp_path).npz("a")


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"salt": 3}')
    assert Golden(tmp_path).json("a") == {"salt": 3}


@pytest.mark.parametrize("read", [Golden.npz, Golden.json])
def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path, read) -> None:
    (tmp_path / "other.npz").touch()
    with pytest.raises(MissingFileError, match=r"a\.(npz|json) is missing\. The folder holds: other\.npz"):
        read(Golden(tmp_path), "a")


def test_names_need_every_pattern() -> None:
    assert names(["a_in", "a_out", "b_in", "salt"], "*_in", "*_out") == ["a"]


def test_a_name_may_contain_the_pattern() -> None:
    assert names(["tiny_in_in", "tiny_in_out"], "*_in", "*_out") == ["tiny_in"]


def test_names_without_a_match_are_an_error() -> None:
    with pytest.raises(InputError, match="No key fits"):
        names(["salt"], "*_in")


@pytest.mark.parametrize("pattern", ["in", "*_*"])
def test_a_pattern_has_one_star(pattern: str) -> None:
    with pytest.raises(InputError, match="exactly one"):
        names(["a_in"], pattern)


@pytest.fixture
def entries() -> Entries:
    return Entries({"a_in": 1.0, "a_out": 2.0, "b_in": 3.0, "cases": np.array(["b", "a"])}, "x.npz")


def test_a_missing_array_skips_with_the_file_and_the_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(pytest.skip.Exception, match=r"a\.npz has no `y`"):
        tensors(Golden(tmp_path).npz("a"), "x", "y")


def test_a_missing_entry_of_a_json_file_skips_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"cases": [{"name": "x"}]}')
    with pytest.raises(pytest.skip.Exception, match=r"a\.json/cases/0 has no `result`"):
        Golden(tmp_path).json("a")["cases"][0]["result"]


def test_an_incomplete_case_stays_as_a_skip_that_names_the_key(entries: Entries) -> None:
    complete, incomplete = cases(entries, "*_in", "*_out")
    assert complete.values == ("a",)
    assert not complete.marks
    assert incomplete.values == ("b",)
    assert [mark.kwargs["reason"] for mark in incomplete.marks] == ["x.npz has no `b_out`"]


def test_cases_of_which_none_is_complete_are_an_error(entries: Entries) -> None:
    with pytest.raises(InputError, match="No key fits"):
        cases(entries, "*_in", "*_elsewhere")


def test_stems_need_one_pattern_only(entries: Entries) -> None:
    assert stems(entries, "*_out", "*_in") == ["a", "b"]


def test_stems_without_a_match_are_an_error(entries: Entries) -> None:
    with pytest.raises(InputError, match="No key fits"):
        stems(entries, "*_elsewhere")


def test_listed_names_come_sorted(entries: Entries) -> None:
    assert listed(entries, "cases") == ["a", "b"]


def test_a_missing_list_is_one_skip(entries: Entries) -> None:
    (only,) = listed(entries, "sets")
    assert [mark.kwargs["reason"] for mark in only.marks] == ["x.npz has no `sets`"]


def test_fitting_keys_come_in_the_order_of_the_file(entries: Entries) -> None:
    assert fitting(entries, "*_in") == ["a_in", "b_in"]


def test_a_pattern_without_keys_skips(entries: Entries) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"x\.npz has no `c_\*`"):
        fitting(entries, "c_*")


def test_values_that_agree_pass(entries: Entries) -> None:
    check_each(entries, {"a_in": 1.0, "a_out": 2.0}, np.testing.assert_array_equal)


def test_a_wrong_value_fails_also_where_a_key_is_missing(entries: Entries) -> None:
    with pytest.raises(AssertionError) as caught:
        check_each(entries, {"elsewhere": 0.0, "a_out": 1.98}, np.testing.assert_array_equal)
    assert caught.value.__notes__ == ["`a_out` of x.npz"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"a_in": 1.0, "b_out": 4.0}, r"^x\.npz has no `b_out`, the rest agrees$"),
        ({"b_out": 4.0}, r"^x\.npz has no `b_out`$"),
    ],
)
def test_what_is_missing_is_a_skip_after_the_rest_was_compared(entries: Entries, found: dict, reason: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=reason):
        check_each(entries, found, np.testing.assert_array_equal)


def test_matrices_are_scaled_by_their_fan_in() -> None:
    drawn = np.random.RandomState((zlib.crc32(b"fc.weight") + 7) % 2**32).standard_normal(12)
    expected = (drawn * np.sqrt(2 / 4)).reshape(3, 4).astype(np.float32)
    np.testing.assert_array_equal(fan_in_normal("fc.weight", (3, 4), 7), expected)


def test_vectors_are_scaled_by_a_tenth() -> None:
    drawn = np.random.RandomState(zlib.crc32(b"fc.bias")).standard_normal(3)
    np.testing.assert_array_equal(fan_in_normal("fc.bias", (3,), 0), (drawn * 0.1).astype(np.float32))


def test_a_filled_float64_network_has_the_float32_weights() -> None:
    narrow, wide = nn.Linear(4, 3), nn.Linear(4, 3)
    fill_state_dict(narrow, salt=5)
    fill_state_dict(wide, salt=5, dtype=torch.float64)
    assert wide.weight.dtype == torch.float64
    assert torch.equal(narrow.weight.double(), wide.weight)


def test_the_salt_changes_the_weights() -> None:
    assert not torch.equal(fill_state_dict(nn.Linear(4, 3), salt=0).weight, fill_state_dict(nn.Linear(4, 3), 1).weight)


def test_another_rule_may_leave_entries_and_keeps_integer_types() -> None:
    module = nn.BatchNorm1d(2)

    def rule(key: str, shape: tuple[int, ...], salt: int) -> np.ndarray | None:
        if key == "weight":
            return None
        return np.full(shape, 0 if key == "num_batches_tracked" else 7 + salt)

    fill_state_dict(module, salt=1, rule=rule)
    state = module.state_dict()
    assert state["weight"].tolist() == [1, 1]
    assert state["running_mean"].tolist() == [8, 8]
    assert state["num_batches_tracked"].dtype == torch.int64


def test_a_rule_with_a_wrong_shape_is_named() -> None:
    with pytest.raises(InputError, match=r"`weight` the shape \(1,\), expected \(3, 4\)"):
        fill_state_dict(nn.Linear(4, 3), rule=lambda key, shape, salt: np.zeros(1))


def test_the_hashed_rule_gives_the_published_numbers() -> None:
    expected = [0.054777, -0.071446, -0.080630, -0.085416, 0.065359, 0.002679]
    np.testing.assert_allclose(hashed_uniform("fc.bias", (6,), 0), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    ("key", "shape", "low", "high"),
    [
        ("bn.running_mean", (4000,), -0.1, 0.1),
        ("bn.running_var", (4000,), 0.5, 1.5),
        ("bn.weight", (4000,), 0.75, 1.25),
        ("fc.bias", (4000,), -0.1, 0.1),
        ("fc.weight", (1000, 2, 2), -np.sqrt(3 / 4), np.sqrt(3 / 4)),
    ],
)
def test_the_hashed_rule_fills_the_range_of_each_kind(key: str, shape: tuple[int, ...], low: float, high: float):
    values = hashed_uniform(key, shape, 0)
    assert values.shape == shape
    assert low <= values.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < values.max() < high


def test_the_hashed_rule_starts_counters_at_zero() -> None:
    counter = hashed_uniform("bn.num_batches_tracked", (), 0)
    assert (counter.shape, counter.dtype, int(counter)) == ((), np.int64, 0)


def test_the_salt_changes_the_hashed_numbers() -> None:
    assert not np.array_equal(hashed_uniform("fc.bias", (6,), 0), hashed_uniform("fc.bias", (6,), 1))


def test_tensors_come_in_the_order_asked_for() -> None:
    first, second = tensors({"x": np.zeros(2), "y": np.ones(1)}, "y", "x")
    assert (first.shape, second.shape) == ((1,), (2,))

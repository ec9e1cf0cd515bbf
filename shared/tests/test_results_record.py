import copy
import json

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results import record as schema

RANDOM = np.random.default_rng(0)


@pytest.fixture
def scores():
    id_set = RANDOM.normal(0, 1, 40).astype(np.float32), RANDOM.integers(0, 3, 40), RANDOM.integers(0, 3, 40)
    ood_sets = {"near": (RANDOM.normal(1, 1, 30), None), "far": (RANDOM.normal(3, 1, 20), np.zeros(20, int))}
    return schema.pack_scores("digits", id_set, ood_sets)


@pytest.fixture
def record(scores):
    metrics, id_accuracy = schema.measure(scores, np.random.default_rng(0), resamples=50)
    return {
        "method": "fake",
        "paper": "Author, Title, Venue 2020",
        "id_dataset": "digits",
        "ood_datasets": ["near", "far"],
        "seed": 0,
        "budget": "smoke",
        "config": {"epochs": 3},
        "metrics": metrics,
        "id_accuracy": id_accuracy,
        "timings": {"train_seconds": 1.5, "train_step_seconds": None, "score_seconds_per_1000": 0.1},
        "peak_memory_bytes": None,
        "hardware": {"processor": "x"},
        "versions": {"torch": "2"},
        "commit": None,
        "checkpoint_sha256": None,
    }


def test_pack_scores_marks_ood_by_label_and_counts_the_sets(scores):
    assert scores["names"].tolist() == ["digits", "near", "far"]
    assert np.bincount(scores["dataset"]).tolist() == [40, 30, 20]
    assert (scores["labels"][40:] == -1).all()
    assert (scores["labels"][:40] >= 0).all()
    assert scores["predictions"][40:70].tolist() == [-1] * 30
    assert scores["names"].dtype.kind == "U"


def test_pack_scores_takes_tensors_and_keeps_every_score():
    id_scores = torch.rand(5, dtype=torch.float64)
    packed = schema.pack_scores("a", (id_scores, torch.zeros(5), torch.zeros(5)), {"b": (torch.rand(3), None)})
    np.testing.assert_array_equal(schema.split_scores(packed)[0], id_scores.numpy())


def test_pack_scores_with_nan_names_the_set():
    with pytest.raises(InputError, match="scores of near has 1 NaN of 2 scores, the first at position 1"):
        schema.pack_scores("digits", (np.ones(2), np.zeros(2, int), None), {"near": (np.array([0.0, np.nan]), None)})


def test_measure_of_a_method_without_classes_has_no_accuracy():
    packed = schema.pack_scores("a", (np.zeros(4), np.zeros(4, int), None), {"b": (np.ones(4), None)})
    assert schema.measure(packed, np.random.default_rng(0), resamples=5)[1] is None


def test_what_is_written_is_read_back(tmp_path, record, scores):
    schema.write_result(tmp_path, record, scores)
    read, arrays = schema.read_result(tmp_path)
    assert read == {"schema_version": 1, "score_convention": "higher = more OOD", **record}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, scores[name])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["result.json", "scores.npz"]


def test_numpy_numbers_tuples_and_paths_become_json(tmp_path, record, scores):
    record["config"] = {"a": np.float32(0.5), "b": (1, 2), "c": tmp_path, "d": np.arange(2), "e": np.int64(3)}
    schema.write_result(tmp_path, record, scores)
    config = json.loads((tmp_path / "result.json").read_text())["config"]
    assert config == {"a": 0.5, "b": [1, 2], "c": str(tmp_path), "d": [0, 1], "e": 3}


def test_further_entries_are_kept(tmp_path, record, scores):
    schema.write_result(tmp_path, {**record, "pixel_metrics": {"dice": 0.5}}, scores)
    assert schema.read_result(tmp_path)[0]["pixel_metrics"] == {"dice": 0.5}


def test_every_missing_entry_is_named(tmp_path, record, scores):
    del record["seed"], record["paper"]
    with pytest.raises(InputError, match="lacks `paper`, `seed`"):
        schema.write_result(tmp_path, record, scores)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", ""),
        ("seed", "0"),
        ("seed", True),
        ("budget", "long"),
        ("ood_datasets", ["near", "near"]),
        ("ood_datasets", "near"),
        ("config", None),
        ("id_accuracy", 0.9),
        ("id_accuracy", {"value": 0.9, "low": 0.95, "high": 0.9}),
        ("id_accuracy", {"value": 90.0, "low": 89.0, "high": 91.0}),
        ("timings", {"train_seconds": 1}),
        ("timings", {"train_seconds": -1, "train_step_seconds": None, "score_seconds_per_1000": None}),
        ("peak_memory_bytes", 1.5),
        ("score_convention", "lower = more OOD"),
        ("schema_version", 2),
    ],
)
def test_an_entry_of_another_form_is_refused_by_name(tmp_path, record, scores, name, value):
    with pytest.raises(InputError, match=f"{name}.* (expected|reads)"):
        schema.write_result(tmp_path, {**record, name: value}, scores)


@pytest.mark.parametrize("value", [None, 0.5, {"value": float("nan"), "low": 0.0, "high": 1.0}, {"value": 0.5}])
def test_a_metric_of_another_form_is_refused_by_name(tmp_path, record, scores, value):
    record["metrics"]["near"]["fpr95"] = value
    with pytest.raises(InputError, match=r"metrics\.near\.fpr95"):
        schema.write_result(tmp_path, record, scores)


def test_metrics_of_the_wrong_sign_are_refused(tmp_path, record, scores):
    turned = {**scores, "scores": -scores["scores"]}
    with pytest.raises(InputError, match=r"the scores give auroc .* higher = more OOD"):
        schema.write_result(tmp_path, record, turned)


def test_metrics_of_another_set_are_refused(tmp_path, record, scores):
    record["metrics"] = {"far": record["metrics"]["far"], "near": record["metrics"]["near"]}
    with pytest.raises(InputError, match="in their order"):
        schema.write_result(tmp_path, record, scores)


def test_a_count_that_differs_from_the_scores_is_refused(tmp_path, record, scores):
    record["metrics"]["far"]["n_ood"] = 21
    with pytest.raises(InputError, match="far: 20 scores, but `n_ood`"):
        schema.write_result(tmp_path, record, scores)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", lambda a: np.zeros_like(a)),
        ("labels", lambda a: a[:-1]),
        ("scores", lambda a: a.astype(int)),
        ("dataset", lambda a: a + 1),
        ("names", lambda a: a.astype(object)),
        ("names", lambda a: a[::-1]),
        ("predictions", lambda a: a[:, None]),
    ],
)
def test_an_array_of_another_form_is_refused_by_name(tmp_path, record, scores, name, change):
    with pytest.raises(InputError, match=f"`{name}`"):
        schema.write_result(tmp_path, record, {**scores, name: change(scores[name])})


def test_a_result_that_is_refused_leaves_nothing(tmp_path, record, scores):
    with pytest.raises(InputError):
        schema.write_result(tmp_path / "run", {**record, "seed": None}, scores)
    assert not (tmp_path / "run").exists()


def test_a_write_that_fails_half_way_leaves_no_result(tmp_path, record, scores, monkeypatch):
    schema.write_result(tmp_path, record, scores)
    monkeypatch.setattr(schema.np, "savez_compressed", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        schema.write_result(tmp_path, record, scores)
    with pytest.raises(MissingFileError, match=r"result\.json is missing"):
        schema.read_result(tmp_path)


def test_reading_refuses_a_file_that_was_changed(tmp_path, record, scores):
    schema.write_result(tmp_path, record, scores)
    changed = copy.deepcopy(record) | {"schema_version": 1, "score_convention": schema.CONVENTION}
    changed["metrics"]["near"]["aupr_out"]["value"] = 0.123
    (tmp_path / "result.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=r"near: the scores give aupr_out .* says 0\.123"):
        schema.read_result(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_reading_a_broken_record_is_one_line(tmp_path, record, scores, content):
    schema.write_result(tmp_path, record, scores)
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError) as caught:
        schema.read_result(tmp_path)
    assert "result.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_reading_truncated_scores_is_an_input_error(tmp_path, record, scores, keep):
    schema.write_result(tmp_path, record, scores)
    whole = (tmp_path / "scores.npz").read_bytes()
    (tmp_path / "scores.npz").write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"scores\.npz"):
        schema.read_result(tmp_path)


def test_reading_without_scores_names_the_file(tmp_path, record, scores):
    schema.write_result(tmp_path, record, scores)
    (tmp_path / "scores.npz").unlink()
    with pytest.raises(MissingFileError, match=r"scores\.npz is missing"):
        schema.read_result(tmp_path)


def test_pickled_arrays_are_not_loaded(tmp_path, record, scores):
    schema.write_result(tmp_path, record, scores)
    np.savez(tmp_path / "scores.npz", **{**scores, "names": scores["names"].astype(object)})
    with pytest.raises(InputError, match=r"scores\.npz is damaged or no file of scores"):
        schema.read_result(tmp_path)

"""inference_3d: maps of one axis, their scores and metrics, and the averaged prediction."""

import csv
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import Model, build_families
from mood_dpa.data.preprocessing import trilinear
from mood_dpa.losses import make_loss
from mood_dpa.predict import AxisModel, Ensemble, reduced
from mood_dpa.ranking import Ranking, rank_metrics
from mood_dpa.scores import SMALL_AREA, SliceSelection, axis_map
from ood_shared.testing.golden import Entries, check_each, names

from .conftest import GOLDEN, fill, rule_features

ARRAYS, CASES = GOLDEN.npz("inference_3d"), GOLDEN.json("inference_3d")
FILES = names(ARRAYS, "vol/*")
INFERRED = [(case, file) for case in CASES.get("inference_3d", []) for file in FILES]
PREDICTED = [(case, file) for case in CASES.get("predict_3d", []) for file in FILES]
RTOL = 5e-4


def model_of(axis: int) -> tuple[Model, int]:
    entry = next(m for m in CASES["models"] if m["axis"] == axis)
    config = entry["config"]
    res = config["max_image_res"]
    encoders, decoders = build_families(config)
    nets = [fill(f.net("stab", res), f"axis{axis}.", 0.9).eval() for f in (encoders, decoders)]
    kwargs = {**config["image_rec_loss"]["loss_kwargs"], "mode_3d": True, "reduction": "pixelwise"}
    kwargs["weights_per_resolution"] = {int(k): v for k, v in kwargs["weights_per_resolution"].items()}
    loss = make_loss(config["image_rec_loss"]["loss_type"], kwargs, rule_features())
    loss.set_stage("stab", res)
    return Model(*nets, loss, res, config), res


@pytest.fixture(scope="module")
def models() -> dict[int, tuple[Model, int]]:
    return Entries({entry["axis"]: model_of(entry["axis"]) for entry in CASES["models"]}, "inference_3d.json/models")


_MAPS: dict[tuple, torch.Tensor] = {}


def map_of(models: dict, file: str, axis: int, small: bool, size: int | None) -> torch.Tensor:
    """A map, computed once for all the cases that share it."""
    key = (file, axis, small, size)
    if key not in _MAPS:
        model, res = models[axis]
        volume = torch.from_numpy(ARRAYS[f"vol/{file}"])
        target = tuple(volume.shape) if size is None else (size,) * 3
        _MAPS[key] = axis_map(volume, model, axis, SliceSelection(small, res), target)
    return _MAPS[key]


@pytest.fixture(autouse=True)
def _each_map_once(models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions share the maps of one axis between cases; the networks need not run again for each."""
    volumes = {ARRAYS[f"vol/{file}"].tobytes(): file for file in FILES}

    def cached(volume: torch.Tensor, model: Model, axis: int, selection: SliceSelection, target: tuple) -> torch.Tensor:
        file = volumes[volume.numpy().tobytes()]
        size = None if target == tuple(volume.shape) else target[0]
        assert model is models[axis][0]
        return map_of(models, file, axis, selection.skip_small, size)

    monkeypatch.setattr("mood_dpa.predict.axis_map", cached)


def key_of(case: dict, file: str) -> str:
    return case["index_true_key"] if file in (case.get("index_true_files") or []) else case["key"]


def wanted(kind: str, case: dict, file: str | None = None) -> dict:
    """The entry with the texts: of a file that the reference shifts, and of the metrics, the corrected one."""
    key = case.get("index_true_key")
    if key is None or (file is not None and file not in case["index_true_files"]):
        return case
    found = [entry for entry in CASES["inference_3d_index_true"][kind] if entry["key"] == key]
    return found[0] if found else pytest.skip(f"inference_3d.json/inference_3d_index_true/{kind} has no `{key}`")


def check_map(found: torch.Tensor, key: str, file: str) -> None:
    prefix = f"{key}/{file}"
    sub, stats = found[1::5, 2::5, 0::5], [found.min(), found.max(), found.mean()]
    scale = np.abs(ARRAYS.get(f"{prefix}/stats", sub)).max()
    near = partial(np.testing.assert_allclose, rtol=RTOL, atol=RTOL * scale)
    check_each(ARRAYS, {f"{prefix}/sub": sub, f"{prefix}/stats": stats}, near)


def inferred(models: dict, case: dict, file: str) -> torch.Tensor:
    found = map_of(models, file, case["axis"], case["do_not_process_small_area"], None)
    return found * (torch.from_numpy(ARRAYS[f"vol/{file}"]) > 0) if case["delete_zero_area"] else found


def named(value: object) -> str:
    return value["key"] if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("case", "file"), INFERRED, ids=named)
def test_maps_of_one_axis_agree(case: dict, file: str, models: dict) -> None:
    check_map(inferred(models, case, file), key_of(case, file), file)


@pytest.mark.parametrize(("case", "file"), INFERRED, ids=named)
def test_scores_of_one_axis_agree(case: dict, file: str, models: dict) -> None:
    score = reduced(inferred(models, case, file).numpy(), case["score_reduction"])
    assert score == pytest.approx(float(wanted("inference_3d", case, file)["sample_files"][f"{file}.txt"]), rel=RTOL)


@pytest.mark.parametrize("case", CASES.get("inference_3d", []), ids=named)
def test_metrics_of_one_axis_agree(case: dict, models: dict) -> None:
    pixels, labels, scores = Ranking(), [], []
    for file in FILES:
        found, mask = inferred(models, case, file), torch.from_numpy(ARRAYS[f"mask/{file}"]).float()
        scores.append(reduced(found.numpy(), case["score_reduction"]))
        if case["resize_3d_for_evaluation"]:
            size = (case["resize_3d_for_evaluation"],) * 3
            mask, found = trilinear(mask, size), trilinear(found, size)
        pixels.add(mask > 0.5, found)
        labels.append(bool(mask.sum() > 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = {"sample": rank_metrics(labels, scores), "pixel": pixels.metrics()}
    rows = csv.reader(wanted("inference_3d", case)["scores_csv"].splitlines()[1:])
    expected = Entries({name: [float(n or "nan") for n in numbers] for name, *numbers in rows}, "scores_csv")
    found = {name: [metric.ap, metric.auroc] for name, metric in metrics.items()}
    check_each(expected, found, partial(np.testing.assert_allclose, rtol=0, atol=1e-3))


def predicted(models: dict, case: dict, file: str) -> tuple[torch.Tensor, float]:
    selection = SliceSelection(case["do_not_process_small_area"], case["model_resize"])
    parts = tuple(AxisModel(models[axis][0], axis, selection) for axis in case["axes"])
    ensemble = Ensemble(parts, case["resize"], case["delete_zero_area"])
    return ensemble.predict(ARRAYS[f"vol/{file}"], torch.device("cpu"))


@pytest.mark.parametrize(("case", "file"), PREDICTED, ids=named)
def test_averaged_maps_agree(case: dict, file: str, models: dict) -> None:
    check_map(predicted(models, case, file)[0], key_of(case, file), file)


@pytest.mark.parametrize(("case", "file"), PREDICTED, ids=named)
def test_scores_of_averaged_maps_agree(case: dict, file: str, models: dict) -> None:
    score = predicted(models, case, file)[1]
    assert score == pytest.approx(float(wanted("predict_3d", case, file)["scores"][file]), rel=RTOL)


@pytest.mark.parametrize("file", sorted({k.split("/", 1)[1] for k in ARRAYS if k.startswith("slice_sums_axis")}))
def test_slices_are_selected_by_the_recorded_sums(file: str) -> None:
    volume = torch.from_numpy(ARRAYS[f"vol/{file}"])
    slices = {f"slice_sums_axis{axis}/{file}": volume.movedim(axis, 0) for axis in range(3)}

    def same(found: torch.Tensor, sums: np.ndarray) -> None:
        np.testing.assert_allclose(found.sum(dim=(1, 2), dtype=torch.float64), sums, rtol=1e-5)
        np.testing.assert_array_equal(SliceSelection(True, None).of(found), np.flatnonzero(sums > SMALL_AREA))

    check_each(ARRAYS, slices, same)

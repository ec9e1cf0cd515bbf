"""inference_3d: maps of one axis, their scores and metrics, and the averaged prediction."""

import io
import math
import warnings

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import Model, build_families
from mood_dpa.data.preprocessing import trilinear
from mood_dpa.losses import make_loss
from mood_dpa.predict import AxisModel, Ensemble, reduced
from mood_dpa.ranking import Ranking, rank_metrics
from mood_dpa.scores import SliceSelection, axis_map
from ood_shared.testing.golden import names

from .conftest import GOLDEN, fill, rule_features

ARRAYS, CASES = GOLDEN.npz("inference_3d"), GOLDEN.json("inference_3d")
TRUE = CASES["inference_3d_index_true"]
FILES = names(ARRAYS, "vol/*")
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
    return {entry["axis"]: model_of(entry["axis"]) for entry in CASES["models"]}


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


def check_map(found: torch.Tensor, key: str, file: str) -> None:
    sub, stats = ARRAYS[f"{key}/{file}/sub"], ARRAYS[f"{key}/{file}/stats"]
    scale = np.abs(stats).max()
    np.testing.assert_allclose(found[1::5, 2::5, 0::5], sub, rtol=0, atol=RTOL * scale)
    np.testing.assert_allclose([found.min(), found.max(), found.mean()], stats, rtol=RTOL, atol=RTOL * scale)


@pytest.mark.parametrize("case", CASES["inference_3d"], ids=lambda c: c["key"])
def test_maps_scores_and_metrics_of_one_axis_agree(case: dict, models: dict) -> None:
    pixels, labels, scores = Ranking(), [], []
    true = next((e for e in TRUE["inference_3d"] if e["key"] == case["index_true_key"]), None)
    for file in FILES:
        found = map_of(models, file, case["axis"], case["do_not_process_small_area"], None)
        if case["delete_zero_area"]:
            found = found * (torch.from_numpy(ARRAYS[f"vol/{file}"]) > 0)
        check_map(found, key_of(case, file), file)
        score = reduced(found.numpy(), case["score_reduction"])
        texts = true["sample_files"] if true and file in case["index_true_files"] else case["sample_files"]
        assert score == pytest.approx(float(texts[f"{file}.txt"]), rel=RTOL)
        mask = torch.from_numpy(ARRAYS[f"mask/{file}"]).float()
        if case["resize_3d_for_evaluation"]:
            size = (case["resize_3d_for_evaluation"],) * 3
            mask, found = trilinear(mask, size), trilinear(found, size)
        pixels.add(mask > 0.5, found)
        labels.append(bool(mask.sum() > 0))
        scores.append(score)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = {"sample": rank_metrics(labels, scores), "pixel": pixels.metrics()}
    text = (true or case)["scores_csv"]
    for line in io.StringIO(text).read().splitlines()[1:]:
        name, ap, auroc = line.split(",")
        assert metrics[name].ap == pytest.approx(float(ap), abs=1e-3)
        assert (
            math.isnan(metrics[name].auroc)
            if not auroc
            else metrics[name].auroc == pytest.approx(float(auroc), abs=1e-3)
        )


@pytest.mark.parametrize("case", CASES["predict_3d"], ids=lambda c: c["key"])
def test_averaged_predictions_agree(case: dict, models: dict) -> None:
    selection = SliceSelection(case["do_not_process_small_area"], case["model_resize"])
    parts = tuple(AxisModel(models[axis][0], axis, selection) for axis in case["axes"])
    ensemble = Ensemble(parts, case["resize"], case["delete_zero_area"])
    true = next((e for e in TRUE["predict_3d"] if e["key"] == case.get("index_true_key")), None)
    for file in FILES:
        found, score = ensemble.predict(ARRAYS[f"vol/{file}"], torch.device("cpu"))
        check_map(found, key_of(case, file), file)
        texts = true["scores"] if true and file in case["index_true_files"] else case["scores"]
        assert score == pytest.approx(float(texts[file]), rel=RTOL)

"""Learning rates, test transforms, and the whole of test.py on a recorded tree."""

import csv
import io

import numpy as np
import pytest
import torch
from imood import cli
from imood.data.images import as_tensor, centre, squeezed
from imood.data.views import LARGE, SMALL
from imood.metrics import n_outputs_of
from imood.settings import Settings, learning_rate_factor
from ood_shared import blocks, checkpoints
from PIL import Image

from ..conftest import write_cifar, write_scood
from .conftest import GOLDEN, filled, words

RATES = [str(case) for case in GOLDEN.npz("lr_schedules")["cases"]]
OOD_IMAGES = [number for (number,) in words("transforms", r"ood(\d+)_in")]
E2E = GOLDEN.npz("e2e_test_cifar10")
METRICS = [str(name) for name in E2E["metrics"]]


@pytest.mark.parametrize("case", RATES)
def test_learning_rates_are_the_published_ones(golden, case):
    arrays = golden.npz("lr_schedules")
    settings = Settings(
        dataset="cifar10",
        model="ResNet18",
        counts=(1, 1),
        epochs=int(arrays[f"{case}_epochs"]),
        decay=str(arrays[f"{case}_kind"]),
        decay_epochs=tuple(arrays[f"{case}_milestones"].tolist()),
    )
    found = [float(arrays[f"{case}_lr"]) * learning_rate_factor(settings, epoch) for epoch in range(settings.epochs)]
    np.testing.assert_allclose(found, arrays[case], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("number", OOD_IMAGES)
def test_outlier_images_are_squeezed_as_published(golden, number):
    arrays = golden.npz("transforms")
    pixels = squeezed(Image.fromarray(arrays[f"ood{number}_in"]), 32)
    np.testing.assert_allclose(SMALL.test(pixels.unsqueeze(0))[0], arrays[f"ood{number}_out"], atol=1e-6)


def test_cifar_images_are_only_scaled(golden):
    arrays = golden.npz("transforms")
    pixels = as_tensor(Image.fromarray(arrays["cifar_in"]))
    np.testing.assert_allclose(SMALL.test(pixels.unsqueeze(0))[0], arrays["cifar_out"], atol=1e-6)


def test_imagenet_images_are_cut_and_normalised_as_published(golden):
    arrays = golden.npz("transforms")
    pixels = centre(Image.fromarray(arrays["imagenet_in"]), 224)
    step = int(arrays["imagenet_stride"])
    np.testing.assert_allclose(LARGE.test(pixels.unsqueeze(0))[0, :, ::step, ::step], arrays["imagenet_out"], atol=1e-6)


def training_images():
    """One image a label; where the file holds some rows only, the rest is black, and would spoil the pool if taken."""
    if "train_rows" not in E2E:
        return E2E["train_images"]
    pixels = np.zeros((len(E2E["train_labels"]), *E2E["train_images"].shape[1:]), np.uint8)
    pixels[E2E["train_rows"]] = E2E["train_images"]
    return pixels


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The recorded images as the files that the program reads."""
    root = tmp_path_factory.mktemp("e2e") / "data"
    name = str(E2E["dataset"])
    write_cifar(root, name, (training_images(), E2E["train_labels"]), (E2E["test_images"], E2E["test_labels"]))
    for listed in map(str, E2E["sets"]):
        write_scood(root, name, listed, E2E[f"{listed}_images"], E2E[f"{listed}_sc_label"])
    return root


def trained_for(metric, folder):
    """The folder with the checkpoint of a metric, made once."""
    n_classes = len(E2E["class_counts"])
    outputs = n_outputs_of(metric, n_classes)
    at = folder / f"o{outputs}"
    if not at.exists():
        network = filled(str(E2E["network"]), n_classes, outputs, torch.float32)
        checkpoints.save(at / "latest.pth", {"model": network.state_dict()})
    return at


@pytest.fixture(scope="module")
def few_rows():
    """Sets are filled up to blocks of rows: small ones for small sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 4)
        yield


@pytest.fixture(scope="module")
def results(tree, tmp_path_factory, few_rows):
    """Result folders of every metric: one pass for each network and sign."""
    folder = tmp_path_factory.mktemp("results")
    found = {}
    common = ["--gpu", "cpu", "--ds", str(E2E["dataset"]), "--drp", str(tree), "--md", str(E2E["network"])]
    common += ["--rho", str(E2E["rho"]), "--tau", str(E2E["tau"]), "--tb", str(E2E["test_batch_size"])]
    for sign in ("legacy", "fixed"):
        for outputs in ("bin_disc", "others"):
            chosen = [m for m in METRICS if ("bin_disc" in m) == (outputs == "bin_disc")]
            chosen = [m.removeprefix("fixed_") for m in chosen if m.startswith("fixed_") == (sign == "fixed")]
            if not chosen:
                continue
            checkpoint, out = trained_for(chosen[0], folder), folder / sign / outputs
            words = ["test", *common, "--ckpt_path", str(checkpoint), "--output-dir", str(out)]
            assert cli.main([*words, "--ood_metric", ",".join(chosen), "--maha_sign", sign]) == 0
            for metric in chosen:
                at = out / f"{metric}-tau{float(E2E['tau'])}" if len(chosen) > 1 else out
                found[f"fixed_{metric}" if sign == "fixed" else metric] = at
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_scores_and_result_files_are_the_recorded_ones(results, metric):
    at = results[metric]
    recorded = E2E[f"{metric}_scores"]
    kept = np.concatenate(
        [np.ones(len(E2E["test_labels"]), bool)] + [E2E[f"{name}_sc_label"] < 0 for name in map(str, E2E["sets"])]
    )
    with np.load(at / "scores.npz") as arrays:
        found = arrays["scores"]
    np.testing.assert_allclose(found, recorded[kept], rtol=2e-2 if "maha" in metric else 1e-3, atol=1e-5)
    assert_same_text((at / "res.txt").read_text(), str(E2E[f"{metric}_res_txt"]))
    lines, expected = ((at / "res.csv").read_text(), str(E2E[f"{metric}_res_csv"]))
    assert not lines.endswith("\n")
    rows, wanted = (list(csv.reader(io.StringIO(text))) for text in (lines, expected))
    assert len(rows) == len(wanted)
    for place, (row, other) in enumerate(zip(rows, wanted, strict=True)):
        assert float(row[0]) == pytest.approx(float(other[0]), abs=1 if place >= 3 else 1.0)


def assert_same_text(found, expected):
    """The same words, and numbers within 0.01."""
    assert len(found.split()) == len(expected.split())
    assert found.count("\n") == expected.count("\n")
    for one, other in zip(found.split(), expected.split(), strict=True):
        try:
            value = float(other.strip("(),"))
        except ValueError:
            assert one == other
        else:
            assert float(one.strip("(),")) == pytest.approx(value, abs=0.01)

"""Learning rates, test transforms, and the whole of test.py on a recorded tree."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from imood import cli
from imood.data.imagenet import package_lists
from imood.data.images import as_tensor, centre, squeezed
from imood.data.views import LARGE, SMALL
from imood.metrics import metric_of, n_outputs_of
from imood.settings import Settings, learning_rate_factor
from ood_shared import blocks, checkpoints
from ood_shared.testing.golden import check_each, listed, stems
from PIL import Image

from ..conftest import write_cifar, write_scood
from .conftest import GOLDEN, filled

RATES = listed(GOLDEN.npz("lr_schedules"), "cases")
OOD_IMAGES = stems(GOLDEN.npz("transforms"), "ood*_in", "ood*_out")
E2E = GOLDEN.npz("e2e_test_cifar10")
METRICS = listed(E2E, "metrics")


@pytest.mark.parametrize("case", RATES)
def test_learning_rates_are_the_published_ones(golden, case):
    arrays, settings = golden.npz("lr_schedules"), schedule_of(case)
    found = [float(arrays[f"{case}_lr"]) * learning_rate_factor(settings, epoch) for epoch in range(settings.epochs)]
    np.testing.assert_allclose(found, arrays[case], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("case", RATES)
def test_a_milestone_multiplies_the_learning_rate_by_the_published_factor(golden, case):
    """A cosine has no milestones; the published factor stands beside it all the same, and is ours for steps, too."""
    expected, settings = golden.npz("lr_schedules")[f"{case}_gamma"], replace(schedule_of(case), decay="multisteps")
    at = (*settings.decay_epochs, 1)[0]
    settings = replace(settings, decay_epochs=settings.decay_epochs or (at,))
    found = learning_rate_factor(settings, at) / learning_rate_factor(settings, at - 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def schedule_of(case):
    arrays = GOLDEN.npz("lr_schedules")
    return Settings(
        dataset="cifar10",
        model="ResNet18",
        counts=(1, 1),
        epochs=int(arrays[f"{case}_epochs"]),
        decay=str(arrays[f"{case}_kind"]),
        decay_epochs=tuple(arrays[f"{case}_milestones"].tolist()),
    )


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
    if len(E2E["train_images"]) == len(E2E["train_labels"]):
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
    for ood in map(str, E2E["sets"]):
        write_scood(root, name, ood, E2E[f"{ood}_images"], E2E[f"{ood}_sc_label"])
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
def checkpoint_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(tree, checkpoint_folder, few_rows):
    """Result folders of every metric: one pass for each network and sign."""
    folder, metrics = checkpoint_folder, list(map(str, E2E["metrics"]))
    found = {}
    common = ["--gpu", "cpu", "--ds", str(E2E["dataset"]), "--drp", str(tree), "--md", str(E2E["network"])]
    common += ["--rho", str(E2E["rho"]), "--tau", str(E2E["tau"]), "--tb", str(E2E["test_batch_size"])]
    for sign in ("legacy", "fixed"):
        for outputs in ("bin_disc", "others"):
            chosen = [m for m in metrics if ("bin_disc" in m) == (outputs == "bin_disc")]
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


def scores_of(metric, at):
    """Ours, and the recorded ones, without the images that are not truly OOD."""
    recorded = E2E[f"{metric}_scores"]
    kept = np.concatenate(
        [np.ones(len(E2E["test_labels"]), bool)] + [E2E[f"{name}_sc_label"] < 0 for name in map(str, E2E["sets"])]
    )
    with np.load(at / "scores.npz") as arrays:
        return arrays["scores"], recorded[kept]


def tolerance(metric, at):
    """Of a share: 1e-4, as printed, or the 0.01 of the README where rounding put two scores in another order."""
    if f"{metric}_scores" not in E2E:
        return 1e-4
    orders = [scores.argsort(kind="stable") for scores in scores_of(metric, at)]
    return 1e-4 if np.array_equal(*orders) else 0.01


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_the_recorded_ones(results, metric):
    found, expected = scores_of(metric, results[metric])
    np.testing.assert_allclose(found, expected, rtol=2e-2 if "maha" in metric else 1e-3, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_the_text_of_the_results_is_the_recorded_one(results, metric):
    found, expected = (results[metric] / "res.txt").read_text(), str(E2E[f"{metric}_res_txt"])
    atol = tolerance(metric, results[metric]) + 1e-9
    assert found.count("\n") == expected.count("\n")
    for one, other in zip(found.split(), expected.split(), strict=True):
        try:
            value = float(other.strip("(),"))
        except ValueError:
            assert one == other
        else:
            assert float(one.strip("(),")) == pytest.approx(value, abs=atol, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
def test_the_table_of_the_results_is_the_recorded_one(results, metric):
    """Three metrics in percent, then counts of images."""
    lines, expected = (results[metric] / "res.csv").read_text(), str(E2E[f"{metric}_res_csv"])
    assert not lines.endswith("\n")
    found, wanted = (np.array(text.split(), dtype=float) for text in (lines, expected))
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found[:3], wanted[:3], rtol=0, atol=100 * tolerance(metric, results[metric]) + 1e-9)
    np.testing.assert_allclose(found[3:], wanted[3:], rtol=0, atol=1)


def test_the_pool_of_the_evaluation_is_the_recorded_one(results, checkpoint_folder):
    """The pool that the run saved beside the checkpoint: of each class how many rows, and the sum of all numbers."""
    metric = next((metric for metric in results if metric_of(metric.removeprefix("fixed_")).pool), None)
    if metric is None:
        pytest.skip(f"{E2E.source}: none of the `metrics` needs a pool")
    n_classes = len(E2E["class_counts"])
    outputs = n_outputs_of(metric.removeprefix("fixed_"), n_classes)
    queue = torch.load(checkpoint_folder / f"o{outputs}" / "id_feat_plain.pt", weights_only=True)
    found = {"maha_ptr": (queue != 0).any(dim=2).sum(dim=1), "maha_queue_sum": queue.double().sum(dim=(1, 2))}
    check_each(E2E, found, partial(np.testing.assert_allclose, rtol=1e-4))


def test_classes_are_as_large_as_recorded(results):
    found = json.loads((next(iter(results.values())) / "result.json").read_text())["config"]["class_counts"]
    assert found == E2E["class_counts"].tolist()


@pytest.mark.parametrize("name", ["extra", "ood_test"])
def test_the_shipped_synsets_are_the_published_ones(golden, name):
    if not (golden.folder / "wnids.json").is_file():
        pytest.skip("wnids.json is not there")
    assert (package_lists() / f"wnids_{name}.txt").read_text().split() == golden.json("wnids")[name]

"""The report on outliers that are made from ID images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ood_bench import self_check as module
from ood_bench.fused_fit import Fitted
from ood_bench.self_check import self_check
from ood_bench.synthetic import KINDS, make_all
from ood_shared.datasets import load, resize
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.errors import InputError


@pytest.fixture(scope="module")
def benchmark():
    images = load("digits", "train")
    pixels, labels = resize(images.images[:400], (32, 32), channels=3), torch.from_numpy(images.labels[:400])
    return Benchmark(pixels, labels, pixels, labels, images.classes, {}, (8, 8), False)


def test_every_kind_differs_from_the_image_and_comes_from_the_generator(benchmark):
    images = benchmark.train[:50]
    before = images.clone()
    made, again = (make_all(images, torch.Generator().manual_seed(3)) for _ in range(2))
    other = make_all(images, torch.Generator().manual_seed(4))
    assert (images == before).all()
    assert len(made) == 11
    for name, found in made.items():
        assert found.dtype == torch.uint8
        assert found.shape == images.shape
        assert (found == again[name]).all()
        assert ((found != images).flatten(1).any(dim=1)).double().mean() > 0.9, name
    assert {name for name in KINDS if not (made[name] == other[name]).all()} >= {"pixels", "convolved", "off", "on"}


def test_shuffled_pixels_and_tiles_keep_the_grey_values(benchmark):
    made = make_all(benchmark.train[:9], torch.Generator().manual_seed(0))
    for name in ("pixels", "patches", "turned"):
        assert (made[name].flatten(1).sort(dim=1).values == benchmark.train[:9].flatten(1).sort(dim=1).values).all()


class Brightness:
    """Stands for a fused detector: its fused score is noise, its one member is the brightness, inverted or not."""

    class statistics:
        members = ("bright",)

    def __init__(self, sign):
        self.sign, self.calibration = sign, self

    def measure(self, images):
        return np.abs(images.double().mean(dim=(1, 2, 3)).numpy() - 60)[None] * self.sign, None, None

    def fuse(self, values):
        return np.random.default_rng(len(values[0])).normal(size=len(values[0]))


@pytest.mark.parametrize(("sign", "warned"), [(1, True), (-1, False)])
def test_a_member_that_is_ahead_is_named_and_nothing_is_switched(benchmark, sign, warned):
    fitted = Fitted(Brightness(sign), np.arange(120), np.empty(0), np.empty(0))
    folds = []

    def fit_fold(part):
        folds.append(part)
        return fitted

    check = self_check(fitted, benchmark, fit_fold)
    assert any("`bright` alone is ahead" in words for words in check.ahead) == warned
    assert [name for name in check.sets if name.startswith("without")]
    assert len(folds) == module.FOLDS
    for part in folds:
        assert len(part.classes) == 7
        assert set(part.train_labels.tolist()) == set(range(7))
    assert any("warning" in line for line in check.lines()) == warned


def test_patients_stay_together_in_folds_and_a_fold_without_enough_is_left_out(benchmark):
    patients = tuple(f"p{number // 5}" for number in range(len(benchmark.train)))
    fitted = Fitted(Brightness(1), np.arange(120), np.empty(0), np.empty(0))
    seen = []

    def fit_fold(part):
        seen.append(part.train_groups)
        assert len(part.train_groups) == len(part.train)
        assert set(part.train_groups) <= set(patients)
        if len(seen) == 1:
            raise InputError("too few")
        return fitted

    check = self_check(fitted, replace(benchmark, train_groups=patients), fit_fold)
    assert len([name for name in check.sets if name.startswith("without")]) == module.FOLDS - 1


def test_few_classes_are_not_left_out(benchmark):
    three = benchmark.train_labels < 3
    part = Benchmark(
        benchmark.train[three],
        benchmark.train_labels[three],
        benchmark.test,
        benchmark.test_labels,
        ("0", "1", "2"),
        {},
    )
    fitted = Fitted(Brightness(1), np.arange(60), np.empty(0), np.empty(0))
    check = self_check(fitted, part, lambda _: pytest.fail("a fold was fitted"))
    assert len(check.sets) == 11

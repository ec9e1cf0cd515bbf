"""The views of a comparison in the classifier's training."""

from dataclasses import replace

import pytest
import torch
from oodgen import train as training
from oodgen.data.folders import Pixels
from oodgen.train import ClassifierSettings, Compute, train_classifier

SETTINGS = ClassifierSettings(2, architecture="smallresnet10", epochs=2, batch_size=8, lr=0.5, views="crop_mirror")


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Pixels(images, torch.arange(24) % 3, ("a", "b"))  # label 2: outliers


def trained(pixels, folder, settings=SETTINGS, resume=False):
    compute = Compute(torch.device("cpu"), "fp32", False, "jsonl", resume)
    return train_classifier(pixels, pixels, settings, folder, compute)[0].state_dict()


def test_only_training_batches_are_shifted_and_mirrored(pixels, tmp_path, monkeypatch):
    seen = []

    def watched(images, generator, mirror):
        seen.append((len(images), mirror))
        return images

    monkeypatch.setattr(training, "common_views", watched)
    trained(pixels, tmp_path)
    assert seen == [(8, True)] * 6  # three batches in each of two epochs; validation looks at the images as they are


def test_a_resumed_training_goes_on_with_the_same_views(pixels, tmp_path):
    whole = trained(pixels, tmp_path / "whole")
    trained(pixels, tmp_path / "parts", replace(SETTINGS, epochs=1))
    parts = trained(pixels, tmp_path / "parts", resume=True)
    assert all(map(torch.equal, whole.values(), parts.values()))
    plain = trained(pixels, tmp_path / "plain", replace(SETTINGS, views="none"))
    assert not all(map(torch.equal, whole.values(), plain.values()))

"""On a CUDA device: the same losses, pool and pixels as on the CPU, and training in every precision."""

from pathlib import Path

import pytest
import torch
from imood.data.registry import open_task
from imood.data.tasks import Source
from imood.data.views import SMALL
from imood.losses import METRICS, Objective, training_losses
from imood.pool import FeaturePool
from imood.settings import Settings
from imood.train import train
from ood_shared.training import Compute

from .test_losses import C, case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_gpu(pool):
    found = FeaturePool(pool.capacities.tolist(), pool.rows.shape[1], "cuda", pool.rows.dtype)
    found.load_state_dict({name: value.to("cuda") for name, value in pool.state_dict().items()})
    return found


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("aux", ["none", "pascl", "simclr"])
def test_losses_are_those_of_the_cpu(metric, aux):
    logits, features, labels, adjustment, heads, pool = case(metric)
    objective = Objective(metric, C, aux)
    expected = training_losses(objective, logits, features, labels, adjustment, heads, pool)
    heads = heads.to("cuda")
    found = training_losses(
        objective,
        logits.detach().to("cuda"),
        features.detach().to("cuda"),
        labels.to("cuda"),
        adjustment.to("cuda"),
        heads,
        on_gpu(pool),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-6, atol=1e-8)


def test_views_are_those_of_the_cpu():
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one, other = (SMALL.train(images.to(d), torch.Generator().manual_seed(1)).cpu() for d in ("cpu", "cuda"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)  # hues of nearly grey pixels magnify rounding


@pytest.mark.parametrize(
    "fields", [{}, {"precision": "bf16", "channels_last": True}, {"precision": "fp16"}], ids=["fp32", "bf16", "fp16"]
)
@pytest.mark.parametrize("metric", ["ada_bin_disc", "ada_maha"])
def test_training_runs_and_can_be_resumed(data, tmp_path, metric, fields):
    device = torch.device("cuda")
    task = open_task(Source("cifar10", Path(data), 0.1, "ResNet18", device), training=True)
    chosen = Settings(
        dataset="cifar10", model="ResNet18", counts=tuple(task.counts), ood_metric=metric, aux_ood_loss="pascl",
        epochs=2, batch_size=16, width=8, seed=1, **fields,
    )  # fmt: skip
    network, _, progress = train(task, chosen, tmp_path, Compute(device))
    assert progress.epoch == 2
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    _, _, again = train(task, chosen, tmp_path, Compute(device), tmp_path)
    assert again.epoch == 2


def test_compiled_training_runs(data, tmp_path):
    device = torch.device("cuda")
    task = open_task(Source("cifar10", Path(data), 0.1, "ResNet18", device), training=True)
    chosen = Settings(
        dataset="cifar10", model="ResNet18", counts=tuple(task.counts), epochs=1, batch_size=16, width=8, seed=1
    )
    train(task, chosen, tmp_path, Compute(device, compile=True))

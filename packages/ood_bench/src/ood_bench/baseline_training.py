"""The classifier of the baselines: how it is trained, and one pass of it over images."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared import optimizers
from ood_shared.augment import common_views
from ood_shared.backbone import SmallResNet, build_common
from ood_shared.blocks import map_rows
from ood_shared.contract import LR, Common
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.devices import autocast, maybe_compile, seed_everything
from ood_shared.loaders import DeviceLoader
from ood_shared.training import Compute
from torch import Tensor

from ood_bench.backbones.backbone import Inputs
from ood_bench.classifier import Classifier

SIDE, CHANNELS, BATCH = 32, 3, 250
MEAN, STD = 0.5, 0.25

Passed = tuple[Float[Tensor, "n features"], Float[Tensor, "n classes"]]


def train(
    benchmark: Benchmark,
    schedule: Common,
    seed: int,
    compute: Compute,
    generator: torch.Generator,
) -> SmallResNet:
    """A classifier by cross-entropy: Adam, a rate that falls along a cosine, the common views."""
    device = compute.device
    seed_everything(seed)
    network = build_common(schedule.network, len(benchmark.classes), CHANNELS).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = maybe_compile(network, compute.compile)
    optimizer = optimizers.make(torch.optim.Adam, network.parameters(), lr=LR)
    epochs = schedule.epochs(len(benchmark.train))
    batches = DeviceLoader(
        benchmark.train.to(device),
        benchmark.train_labels.to(device),
        min(schedule.batch_size, len(benchmark.train)),
        shuffle=True,
        drop_last=True,
        generator=generator,
    )
    steps = epochs * len(batches)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    step = 0
    for _ in range(epochs):
        for images, labels, _ in batches:
            x = normalised(common_views(images, generator, benchmark.mirror))
            with autocast(device, compute.precision):
                loss = F.cross_entropy(forward(x).float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            decay.step()
            step += 1
            if step % 100 == 0:
                print(f"step {step}/{steps}  loss {loss.item():.4f}", flush=True)
    return network.eval()


def normalised(images: Tensor) -> Tensor:
    """Network input of uint8 images, or of floats in the scale of [0, 1]."""
    unit = images.float() / 255 if images.dtype == torch.uint8 else images
    return ((unit - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def common_inputs(native: tuple[int, int] | None) -> Inputs:
    """Images as the common network takes them."""
    return Inputs(SIDE, CHANNELS, (MEAN,) * CHANNELS, (STD,) * CHANNELS, native)


def one_pass(classifier: Classifier, images: Tensor, precision: str, batch_size: int = BATCH) -> Passed:
    """Features (n, 64) and logits (n, classes) in float32, on the CPU; on a CPU of each image by itself."""
    device, network = classifier.device, classifier.network

    def rows(batch: Tensor) -> Tensor:
        with autocast(device, precision):
            features = network.features(classifier.inputs.normalised(batch)).float()
        return torch.cat([features, network.fc(features)], dim=1)

    with torch.inference_mode():
        found = map_rows(rows, images, batch_size, device)
    return found[:, : network.feature_dim].clone(), found[:, network.feature_dim :].clone()

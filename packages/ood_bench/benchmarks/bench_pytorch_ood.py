"""Fit and score of the fused detector beside pytorch-ood's own way with two detectors; ratios within one run.

    python benchmarks/bench_pytorch_ood.py [--id digits] [--images 4000] [--repeats 5] [--output FILE.json]

All ways get the same trained common network and the same uint8 images in memory, repeated until there are enough.

    fused      `fit_detector` with the network: statistics of four distances, the map of places, calibration by images
               held out; then scores of new images, with the nearest training image
    detectors  pytorch-ood's way: `Mahalanobis` and `KNN`, each with `fit(loader)`, then `predict` on every batch of a
               DataLoader, of the images that a threshold comes from and of new ones
    one pass   the same two on features that are taken once, by `fit_features` and `predict_features`

A ratio is the time of another way over that of `fused`: above 1, `fused` is faster. It does more than the others when
it fits, and passes the network in blocks of 16 images, so that a score does not depend on the batch.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ood_bench.backbones.backbone import Backbone
from ood_bench.baseline_training import CHANNELS, SIDE, normalised
from ood_bench.fused_fit import calibration_count, fit_detector, held_out, train_backbone
from ood_shared import runs
from ood_shared.contract import COMMON, Request
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.devices import resolve_device
from ood_shared.files import write_json
from ood_shared.testing.timing import measure_in_turns
from ood_shared.training import Compute
from pytorch_ood.detector import KNN, Mahalanobis
from pytorch_ood.utils import extract_features
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

BATCH, SEED = 250, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    generator = torch.Generator().manual_seed(SEED)
    request = Request(options.id, "gaussian", seed=SEED, data_dir=options.data_dir)
    benchmark = repeated(read_benchmark(request, SIDE, CHANNELS, generator), options.images)
    backbone = train_backbone(benchmark, COMMON["smoke"], SEED, Compute(device), generator)
    found = {}
    for what, ways in (("fit", fits(benchmark, backbone, device)), ("score", scores(benchmark, backbone, device))):
        times = measure_in_turns(ways, options.repeats, device)
        ratios = {name: timing.median / times["fused"].median for name, timing in times.items() if name != "fused"}
        found[what] = {"seconds": {name: timing.record() for name, timing in times.items()}, "ratios": ratios}
        said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"{what}: fused {times['fused'].median:.2f} s; times of the others over it: {said}", flush=True)
    if options.output is not None:
        about = {"hardware": runs.hardware(device), "versions": runs.versions(), "images": options.images}
        write_json(options.output, {**found, "id": options.id, "batch": BATCH, **about})


def fits(benchmark: Benchmark, backbone: Backbone, device: torch.device) -> dict[str, Callable[[], object]]:
    """Ways to fit and to get the scores that a threshold comes from."""
    held = held_out(benchmark.train_labels.numpy(), None, np.random.default_rng(SEED))
    keep = np.setdiff1d(np.arange(len(benchmark.train)), held)
    fit = loader_of(benchmark.train[keep], benchmark.train_labels[keep])
    calibration = loader_of(benchmark.train[held], benchmark.train_labels[held])
    encoder = encoder_of(backbone)
    assert len(held) == calibration_count(len(benchmark.train))

    def fused() -> object:
        generator = torch.Generator().manual_seed(SEED)
        return fit_detector(benchmark, Compute(device), generator, backbone=backbone, seed=SEED)

    def detectors() -> list[Tensor]:
        both = [Mahalanobis(encoder).to(device).fit(fit), KNN(encoder).to(device).fit(fit)]
        return [predicted(one.predict, calibration, device) for one in both]

    def one_pass() -> list[Tensor]:
        features, labels = extract_features(fit, encoder, device)
        new, _ = extract_features(calibration, encoder, device)
        both = [Mahalanobis(None).fit_features(features, labels), KNN(None).fit_features(features.cpu(), labels.cpu())]
        return [one.predict_features(new) for one in both]

    return {"fused": fused, "detectors": detectors, "one pass": one_pass}


def scores(benchmark: Benchmark, backbone: Backbone, device: torch.device) -> dict[str, Callable[[], object]]:
    """Ways to score the test images."""
    loader = loader_of(benchmark.test, benchmark.test_labels)
    fit, encoder = loader_of(benchmark.train, benchmark.train_labels), encoder_of(backbone)
    generator = torch.Generator().manual_seed(SEED)
    fused = fit_detector(benchmark, Compute(device), generator, backbone=backbone, seed=SEED).detector
    both = [Mahalanobis(encoder).to(device).fit(fit), KNN(encoder).to(device).fit(fit)]

    def one_pass() -> list[Tensor]:
        features, _ = extract_features(loader, encoder, device)
        return [one.predict_features(features) for one in both]

    return {
        "fused": lambda: fused.examine(benchmark.test),
        "detectors": lambda: [predicted(one.predict, loader, device) for one in both],
        "one pass": one_pass,
    }


def repeated(benchmark: Benchmark, count: int) -> Benchmark:
    """As many training and test images, by taking them again."""
    train, test = (torch.arange(count) % len(part) for part in (benchmark.train, benchmark.test))
    return replace(
        benchmark,
        train=benchmark.train[train],
        train_labels=benchmark.train_labels[train],
        test=benchmark.test[test],
        test_labels=benchmark.test_labels[test],
    )


def loader_of(images: Tensor, labels: Tensor) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(images, labels), BATCH)


def encoder_of(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """Features of uint8 images; pytorch-ood moves no network that is inside a function."""
    return lambda images: backbone.network.features(normalised(images))


def predicted(
    predict: Callable[[Tensor], Tensor], loader: DataLoader[tuple[Tensor, ...]], device: torch.device
) -> Tensor:
    with torch.no_grad():
        return torch.cat([predict(images.to(device)).cpu() for images, _ in loader])


if __name__ == "__main__":
    main()

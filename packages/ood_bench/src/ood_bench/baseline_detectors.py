"""What `baselines` does: one classifier, one pass over each set, every detector on features and logits.

ODIN differentiates by the input, so it alone passes the network again. Every detector takes its authors' setting, or
pytorch-ood's: none is tuned on outliers.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ood_shared import checkpoints
from ood_shared.augment import common_views
from ood_shared.backbone import SmallResNet, build_common
from ood_shared.contract import LR, Common, Request
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.devices import autocast, maybe_compile, seed_everything
from ood_shared.errors import InputError, unknown
from ood_shared.loaders import DeviceLoader
from ood_shared.results.record import facts_of, make_result, pack_scores, print_metrics, write_result
from ood_shared.results.thumbnails import write_pictures
from ood_shared.training import Compute
from torch import Tensor

from ood_bench.baselines import DETECTORS

SIDE, CHANNELS, BATCH = 32, 3, 250
MEAN, STD = 0.5, 0.25
ODIN_EPS, ODIN_T, KNN_K, REACT_SHARE = 0.0014, 1000.0, 50, 0.9
CHECKPOINT = "classifier.pt"
PAPERS = {
    "msp": "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and OOD Examples, ICLR 2017",
    "max_logit": "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022",
    "energy": "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020",
    "odin": "Liang et al., Enhancing the Reliability of OOD Image Detection in Neural Networks, ICLR 2018",
    "knn": "Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022",
    "mahalanobis": "Lee et al., A Simple Unified Framework for Detecting OOD Samples, NeurIPS 2018",
    "vim": "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022",
    "react": "Sun et al., ReAct: Out-of-distribution Detection With Rectified Activations, NeurIPS 2021",
}


def bench(options: argparse.Namespace, schedule: Common) -> None:
    """Train, pass every set once, write the results of the detectors."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for the results and the trained network.")
    wanted = [word for word in options.detectors.split(",") if word]
    for word in wanted:
        if word not in DETECTORS:
            raise unknown("--detectors", word, DETECTORS)
    _need_library()
    compute = Compute.from_options(options)
    device = compute.device
    generator = torch.Generator().manual_seed(options.seed)
    benchmark = read_benchmark(
        Request.from_options(options), SIDE, CHANNELS, generator, schedule.train_images, schedule.test_images
    )
    folder = Path(options.output_dir)

    started = time.perf_counter()
    network = train(benchmark, schedule, options.seed, compute, generator)
    train_seconds = time.perf_counter() - started
    checkpoints.save(folder / CHECKPOINT, network.state_dict())

    sets = benchmark.scored(options.id)
    started = time.perf_counter()
    passed = {name: one_pass(network, images, options.precision) for name, images in sets.items()}
    fit = one_pass(network, benchmark.train, options.precision)
    seconds = time.perf_counter() - started
    n = sum(map(len, sets.values()))
    for word in wanted:
        started = time.perf_counter()
        score = DETECT[word](network, fit, benchmark.train_labels)
        scores = {name: score(sets[name], *passed[name]).double().cpu() for name in sets}
        own = time.perf_counter() - started
        predicted = {name: logits.argmax(dim=1).cpu() for name, (_, logits) in passed.items()}
        arrays = pack_scores(
            options.id,
            (scores[options.id], benchmark.test_labels, predicted[options.id]),
            {name: (scores[name], predicted[name]) for name in benchmark.ood},
        )
        result = make_result(
            arrays,
            method=word,
            paper=PAPERS[word],
            seed=options.seed,
            budget=options.budget,
            config=_config(schedule, network, benchmark, options),
            timings={"train_seconds": train_seconds, "score_seconds_per_1000": 1000 * (seconds + own) / n},
            device=device,
            checkpoint=folder / CHECKPOINT,
        )
        write_pictures(folder / word, arrays, sets, benchmark.classes)
        write_result(folder / word, result, arrays)
        print(f"{word}:")
        print_metrics(result)


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
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
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
            loss.backward()  # type: ignore[no-untyped-call]
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


@torch.inference_mode()
def one_pass(network: SmallResNet, images: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Features (n, 64) and logits (n, classes) in float32, on the network's device."""
    device, features = network.fc.weight.device, []
    for batch in torch.split(images, BATCH):
        with autocast(device, precision):
            features.append(network.features(normalised(batch.to(device))).float())
    together = torch.cat(features)
    return together, network.fc(together)


Score = Callable[[Tensor, Tensor, Tensor], Tensor]  # images, features, logits -> higher = more OOD


def _of_logits(name: str) -> Callable[[SmallResNet, tuple[Tensor, Tensor], Tensor], Score]:
    def make(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
        from pytorch_ood import detector

        score: Callable[[Tensor], Tensor] = getattr(detector, name).score
        return lambda images, features, logits: score(logits)

    return make


def _odin(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
    from pytorch_ood.detector import ODIN

    odin = ODIN(network, eps=ODIN_EPS, temperature=ODIN_T)
    device = network.fc.weight.device
    return lambda images, features, logits: torch.cat(
        [odin.predict(normalised(batch.to(device))).detach() for batch in torch.split(images, BATCH)]
    )


def _knn(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
    from pytorch_ood.detector import KNN

    knn = KNN(None, k=min(KNN_K, len(labels))).fit_features(fit[0].cpu(), labels)
    return lambda images, features, logits: knn.predict_features(features.cpu())


def _mahalanobis(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
    from pytorch_ood.detector import Mahalanobis

    gaussians = Mahalanobis(None).fit_features(fit[0].cpu(), labels)
    return lambda images, features, logits: gaussians.predict_features(features.cpu())


def _vim(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
    from pytorch_ood.detector import ViM

    weight, bias = network.fc.weight.detach().cpu(), network.fc.bias.detach().cpu()
    vim = ViM(None, d=network.feature_dim // 2, w=weight, b=bias).fit_features(fit[0].cpu(), labels)
    return lambda images, features, logits: vim.predict_features(features.cpu())


def _react(network: SmallResNet, fit: tuple[Tensor, Tensor], labels: Tensor) -> Score:
    from pytorch_ood.detector import ReAct

    react = ReAct(network.features, network.fc, percentile=REACT_SHARE).fit_feature_maps(fit[0].cpu(), labels)
    return lambda images, features, logits: react.predict_feature_maps(features)


DETECT: Mapping[str, Callable[[SmallResNet, tuple[Tensor, Tensor], Tensor], Score]] = {
    "msp": _of_logits("MaxSoftmax"),
    "max_logit": _of_logits("MaxLogit"),
    "energy": _of_logits("EnergyBased"),
    "odin": _odin,
    "knn": _knn,
    "mahalanobis": _mahalanobis,
    "vim": _vim,
    "react": _react,
}


def _config(
    schedule: Common, network: SmallResNet, benchmark: Benchmark, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        **facts_of("common", network, schedule.epochs(len(benchmark.train))),
        "n_train": len(benchmark.train),
        "novel_classes": options.novel_classes,
        "mirror": benchmark.mirror,
        **vars(schedule),
    }


def _need_library() -> None:
    try:
        import pytorch_ood  # noqa: F401
    except ImportError:
        raise InputError(
            "The baselines need the package `pytorch-ood`. pip install 'ood-bench[baselines]', or choose --methods."
        ) from None

"""What `baselines` does: one classifier, one pass over each set, every detector on features and logits."""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints
from ood_shared.contract import PRETRAINED, Common, Request
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.detector import asked_of
from ood_shared.errors import InputError, not_installed, unknown
from ood_shared.results.record import facts_of, make_result, pack_scores, print_metrics, write_result
from ood_shared.results.thumbnails import write_pictures
from ood_shared.run_model import write_model
from ood_shared.training import Compute

from ood_bench.baseline_detector import BaselineDetector
from ood_bench.baseline_rules import PAPERS, RULES
from ood_bench.baseline_training import CHANNELS, SIDE, common_inputs, one_pass, train
from ood_bench.baselines import DETECTORS
from ood_bench.classifier import COMMON as COMMON_NETWORK
from ood_bench.classifier import Classifier, pretrained_for, with_head

CHECKPOINT = "classifier.pt"


def bench(options: argparse.Namespace, schedule: Common) -> None:
    """Train, pass every set once, write the results of the detectors."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for the results and the trained network.")
    wanted = [word for word in options.detectors.split(",") if word]
    for word in wanted:
        if word not in DETECTORS:
            raise unknown("--detectors", word, DETECTORS)
    _need_library()
    compute, request = Compute.from_options(options), Request.from_options(options)
    device = compute.device
    generator = torch.Generator().manual_seed(options.seed)
    limits = (schedule.train_images, schedule.test_images)
    pretrained = pretrained_for(request) if request.backbone == PRETRAINED else None
    side, channels = (SIDE, CHANNELS) if pretrained is None else (pretrained.inputs.side, pretrained.inputs.channels)
    benchmark = read_benchmark(request, side, channels, generator, *limits)
    folder = Path(options.output_dir)

    started = time.perf_counter()
    if pretrained is None:
        network = train(benchmark, schedule, options.seed, compute, generator)
        classifier = Classifier(network, common_inputs(benchmark.native))
    else:
        classifier = with_head(pretrained, benchmark, compute)
    train_seconds = time.perf_counter() - started
    checkpoints.save(folder / CHECKPOINT, classifier.network.state_dict())

    sets = benchmark.scored(options.id)
    started = time.perf_counter()
    passed = {name: one_pass(classifier, images, options.precision) for name, images in sets.items()}
    fit = one_pass(classifier, benchmark.train, options.precision)
    seconds = time.perf_counter() - started
    n = sum(map(len, sets.values()))
    for word in wanted:
        started = time.perf_counter()
        fitted = RULES[word].fit(classifier, fit, benchmark.train_labels)
        detector = BaselineDetector(word, classifier, fitted, benchmark.classes, options.precision)
        found = {name: detector.of_pass(images, passed[name]) for name, images in sets.items()}
        own = time.perf_counter() - started
        scores, predicted = found[options.id]
        outliers = {name: found[name] for name in benchmark.ood}
        own_classes = None if len(benchmark.classes) < 2 else predicted  # a single class is no prediction
        arrays = pack_scores(options.id, (scores, benchmark.test_labels, own_classes), outliers, benchmark.groups)
        result = make_result(
            arrays,
            method=word,
            paper=PAPERS[word],
            seed=options.seed,
            budget=options.budget,
            config=_config(schedule, classifier, benchmark, options) | asked_of(request, benchmark),
            timings={"train_seconds": train_seconds, "score_seconds_per_1000": 1000 * (seconds + own) / n},
            device=device,
            checkpoint=folder / CHECKPOINT,
        )
        write_pictures(folder / word, arrays, sets, benchmark.classes)
        about = {"method": word, "paper": PAPERS[word]}
        write_model(folder / word, detector, arrays, request, benchmark, about)
        write_result(folder / word, result, arrays)
        print(f"{word}:")
        print_metrics(result)


def _config(
    schedule: Common, classifier: Classifier, benchmark: Benchmark, options: argparse.Namespace
) -> dict[str, Any]:
    trained = classifier.kind == COMMON_NETWORK
    epochs = schedule.epochs(len(benchmark.train)) if trained else 0
    return {
        **facts_of(classifier.kind, classifier.network if trained else classifier.network.fc, epochs),
        "n_train": len(benchmark.train),
        "mirror": benchmark.mirror,
        **vars(schedule),
    }


def _need_library() -> None:
    try:
        import pytorch_ood  # noqa: F401
    except ImportError:
        raise not_installed("A baseline among --methods", "pytorch-ood", "baselines", "ood-bench") from None

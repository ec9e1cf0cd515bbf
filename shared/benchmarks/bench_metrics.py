"""Speed of the metrics: every metric against two of scikit-learn's, and the bootstrap against a loop of `evaluate`.

    python benchmarks/bench_metrics.py [--output FILE]

Each number is the median of repeated runs after one warm-up run, all in this process.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ood_shared import files, metrics, runs
from sklearn.metrics import average_precision_score, roc_auc_score


def seconds(function, repeats):
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return {"median": float(np.median(taken)), "min": min(taken), "max": max(taken), "repeats": repeats}


def all_metrics(dtype, repeats):
    """Every metric of 500,000 + 500,000 scores against scikit-learn's AUROC and average precision of the same."""
    generator = np.random.default_rng(0)
    id_scores = generator.normal(0, 1, 500_000).astype(dtype)
    ood_scores = generator.normal(1, 1, 500_000).astype(dtype)
    labels, scores = np.r_[np.zeros(500_000), np.ones(500_000)], np.r_[id_scores, ood_scores]
    expected = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    found = metrics.evaluate(id_scores, ood_scores)
    np.testing.assert_allclose((found["auroc"], found["aupr_out"]), expected, rtol=1e-9)
    ours = seconds(lambda: metrics.evaluate(id_scores, ood_scores), repeats)
    theirs = seconds(lambda: (roc_auc_score(labels, scores), average_precision_score(labels, scores)), repeats)
    return {"all_metrics": ours, "sklearn_auroc_ap": theirs, "ratio": theirs["median"] / ours["median"]}


def bootstrap(repeats, resamples=1000, looped=20):
    """1,000 resamples of 10,000 + 10,000 scores; the loop draws and evaluates 20 of them and is scaled up."""
    generator = np.random.default_rng(0)
    id_scores, ood_scores = generator.normal(0, 1, 10_000), generator.normal(1, 1, 10_000)

    def loop():
        for _ in range(looped):
            metrics.evaluate(
                id_scores[generator.integers(0, 10_000, 10_000)], ood_scores[generator.integers(0, 10_000, 10_000)]
            )

    ours = seconds(lambda: metrics.bootstrap(id_scores, ood_scores, generator, resamples), repeats)
    scaled = {name: value * resamples / looped for name, value in seconds(loop, repeats).items() if name != "repeats"}
    scaled |= {"repeats": repeats, "resamples_run": looped}
    return {"bootstrap": ours, "loop_scaled": scaled, "ratio": scaled["median"] / ours["median"]}


def main(argv=None):
    parser = argparse.ArgumentParser(description="speed of ood_shared.metrics, as ratios measured in one run")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(argv)
    found = {
        "1,000,000 float32 scores": all_metrics(np.float32, options.repeats),
        "1,000,000 float64 scores": all_metrics(np.float64, options.repeats),
        "1,000 resamples of 10,000 + 10,000 scores": bootstrap(options.repeats),
    }
    for case, numbers in found.items():
        (ours, a), (theirs, b) = list(numbers.items())[:2]
        print(
            f"{case}: {ours} {1000 * a['median']:.0f} ms, {theirs} {1000 * b['median']:.0f} ms, {numbers['ratio']:.1f}x"
        )
    if options.output:
        machine = {"hardware": runs.hardware(torch.device("cpu")), "versions": runs.versions()}
        files.write_json(options.output, found | machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())

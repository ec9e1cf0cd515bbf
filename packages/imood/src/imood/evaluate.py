"""Testing: one forward pass over every set, then all metrics and prior exponents that were asked for."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError
from ood_shared.files import write_json
from torch import Tensor

from imood.checkpoints import MAX_QUEUE_BYTES, PLAIN_FEATURES, read_features, save_tensor
from imood.data.images import Images
from imood.data.tasks import Task
from imood.figures import GROUPS
from imood.metrics import metric_of
from imood.networks import Network
from imood.passes import Pass, outputs_of
from imood.pool import FeaturePool, pool_of_queue
from imood.run_files import table, write_metric
from imood.scored import Scored, summarise
from imood.scores import Outputs, Rule


@dataclass(frozen=True)
class TestSettings:
    """What is tested.

    Attributes:
        metrics: of `scores.METRICS`, resolved by `scores.choose_metrics`.
        taus: prior exponents.
        maha_sign: `fixed` or `legacy`.
        posterior: `published` or `consistent`: which posterior the balanced metrics divide by the prior.
        trained_tau: prior exponent that the network was trained with.
        seed: of the bootstrap intervals.
        command: the command line, for the page.
    """

    __test__ = False  # no test class, whatever pytest thinks of its name

    metrics: tuple[str, ...]
    taus: tuple[float, ...] = (1.0,)
    maha_sign: str = "fixed"
    posterior: str = "published"
    trained_tau: float = 0.0
    seed: int = 0
    command: str = "test.py"

    @property
    def divided_tau(self) -> float:
        """What is added to the logits, times ln pi, before the balanced metrics divide by the prior."""
        return self.trained_tau if self.posterior == "consistent" else 0.0


@dataclass(frozen=True)
class Passes:
    """Outputs of one forward pass over the ID test set and every outlier set."""

    id_test: Outputs
    id_labels: Tensor
    outliers: dict[str, tuple[Outputs, Tensor]]
    seconds_per_1000: float


def run_passes(passing: Pass, task: Task, pool: FeaturePool | None) -> Passes:
    """Forward passes over all test sets; distances too when there is a pool."""
    started, count = time.perf_counter(), 0

    def outputs(images: Images) -> Outputs:
        nonlocal count
        count += len(images)
        return outputs_of(passing, images, pool)

    test = task.test()
    id_test = outputs(test)
    outliers = {}
    for listed in task.outliers:
        images = listed.load()
        if not bool((images.labels < 0).any()):
            raise InputError(f"The outlier set {listed.name} has no image that is truly OOD (label -1).")
        outliers[listed.name] = (outputs(images), images.labels)
    return Passes(id_test, test.labels, outliers, 1000 * (time.perf_counter() - started) / max(1, count))


def test_pool(passing: Pass, task: Task, dim: int, folder: Path, device: torch.device) -> tuple[FeaturePool, str]:
    """The feature pool for the Mahalanobis metrics, and where it comes from.

    `id_feats.pth` of the folder, else `id_feat_plain.pt`, else built from the long-tailed training images without
    augmentation and saved as the latter.
    """
    stored = read_features(folder)
    if stored is not None:
        return pool_of_queue(stored[0], task.counts, dim, device), str(folder / stored[1])
    pool = training_pool(passing, task.train(), task.counts, dim)
    if distributed.is_main() and pool.queue_bytes <= MAX_QUEUE_BYTES:
        save_tensor(folder / PLAIN_FEATURES, pool.queue().cpu())
    return pool, f"{folder / PLAIN_FEATURES} (made from the training images)"


def training_pool(passing: Pass, train: Images, counts: Sequence[int], dim: int) -> FeaturePool:
    """The features of the training images, without augmentation."""
    pool = FeaturePool(counts, dim, passing.device)
    pool.fill(passing(train)[1], train.labels)
    return pool


def score_sets(passes: Passes, rule: Rule) -> tuple[Scored, dict[str, Scored]]:
    """Scores of one metric at one prior exponent for the ID test set and every outlier set."""

    def scored(outputs: Outputs, labels: Tensor) -> Scored:
        scores, predictions = rule(outputs)
        return Scored(scores.numpy(), predictions.numpy(), labels.cpu().numpy())

    return scored(passes.id_test, passes.id_labels), {
        name: scored(outputs, labels) for name, (outputs, labels) in passes.outliers.items()
    }


def evaluate(
    task: Task,
    network: Network,
    passing: Pass,
    settings: TestSettings,
    source: Path,
    out: Path,
    config: Mapping[str, Any],
    device: torch.device,
) -> list[dict[str, Any]]:
    """Test a network, print the tables and write the result files.

    One metric at one prior exponent goes into `out` itself, with pictures; several go into `<out>/<metric>-tau<τ>`
    each, with `all.json` above them.

    Args:
        task: the images.
        network: in eval mode on the device.
        passing: forward passes of the network.
        settings: what is tested.
        source: checkpoint file.
        out: where results go.
        config: entries of `result.json` about the run.
        device: where it runs.
    """
    pool = None
    notes: dict[str, Any] = {}
    if any(metric_of(name).pool for name in settings.metrics):
        pool, notes["pool"] = test_pool(passing, task, network.classifier.in_features, source.parent, device)
    passes = run_passes(passing, task, pool)
    if not distributed.is_main():
        return []
    facts = {
        "seed": settings.seed,
        "budget": "full",
        "timings": {
            "train_seconds": None,
            "train_step_seconds": None,
            "score_seconds_per_1000": passes.seconds_per_1000,
        },
        "checkpoint_sha256": checkpoints.sha256(source),
    }
    combinations = [(metric, tau) for tau in settings.taus for metric in settings.metrics]
    results = []
    for metric, tau in combinations:
        folder = out if len(combinations) == 1 else out / f"{metric}-tau{tau}"
        if settings.posterior != "published" and metric_of(metric).balanced:  # never where the published numbers stand
            folder = out / f"{metric}-tau{tau}-{settings.posterior}"
        rule = Rule(metric, tuple(task.counts), tau, settings.maha_sign, settings.divided_tau)
        id_test, outliers = score_sets(passes, rule)
        summary = summarise(id_test, outliers, task.counts)
        print(f"--- {metric}, tau {tau} ---\n{table(summary, task.layout)}", flush=True)
        about = {**config, **notes, "ood_metric": metric, "logit_adjust": tau, "maha_sign": settings.maha_sign}
        about |= {"posterior": settings.posterior, "trained_logit_adjust": settings.trained_tau}
        about |= {"class_counts": task.counts, **task.notes}
        results.append(
            write_metric(
                folder,
                summary,
                task.layout,
                task.name,
                id_test,
                outliers,
                task.counts,
                {**facts, "config": about},
                device,
                settings.command if len(combinations) == 1 else None,
            )
        )
    if len(combinations) > 1:
        _write_overview(out, results)
    return results


def _write_overview(out: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """`all.json`, and a table of all metrics on standard output."""
    rows = []
    for result in results:
        config, published = result["config"], result["published"]
        row = {"metric": config["ood_metric"], "tau": config["logit_adjust"], "accuracy": published["accuracy"]}
        rows.append(row | published["mean"] | {f"auroc_{k}": v for k, v in result["group_auroc"].items()})
    write_json(out / "all.json", rows)
    print(f"{'metric':<14} {'tau':>4}  AUROC   FPR95   AUROC of many, median, low")
    for row in rows:
        groups = "  ".join("   -  " if row[f"auroc_{g}"] is None else f"{row[f'auroc_{g}']:.4f}" for g in GROUPS)
        print(f"{row['metric']:<14} {row['tau']:>4}  {row['auroc']:.4f}  {row['fpr95_nearest_recall']:.4f}  {groups}")

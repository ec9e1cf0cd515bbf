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

from imood import longtail
from imood.checkpoints import (
    MAX_QUEUE_BYTES,
    PLAIN_FEATURES,
    form_of,
    load_into,
    read_features,
    read_weights,
    save_tensor,
)
from imood.data.images import Images
from imood.data.tasks import Task
from imood.networks import Network, build
from imood.pool import FeaturePool, check_queue
from imood.run_files import summarise, table, write_metric
from imood.scored import GROUPS, Scored
from imood.scores import BALANCED, Outputs
from imood.validation import Pass


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
    """

    __test__ = False  # no test class, whatever pytest thinks of its name

    metrics: tuple[str, ...]
    taus: tuple[float, ...] = (1.0,)
    maha_sign: str = "fixed"
    posterior: str = "published"
    trained_tau: float = 0.0
    seed: int = 0

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


def load_network(path: Path, model: str, n_classes: int) -> tuple[Network, list[str]]:
    """The network of a checkpoint, in eval mode on the CPU, and lines about what did not fit.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is damaged or hostile, or of another network.
    """
    state = read_weights(path)
    form = form_of(state, path)
    if form.bottleneck != (model == "ResNet50"):
        found = "ResNet50" if form.bottleneck else "ResNet18 or ResNet34"
        raise InputError(f"{path} is of a {found}, --model is {model}. Pass --model {found.split()[0]}.")
    network = build(model, n_classes, form.n_outputs, form.width)
    notes = load_into(network, state, path, n_classes)
    return network.eval(), notes


def run_passes(passing: Pass, task: Task, pool: FeaturePool | None) -> Passes:
    """Forward passes over all test sets; distances too when there is a pool."""
    started, count = time.perf_counter(), 0

    def outputs(images: Images) -> Outputs:
        nonlocal count
        count += len(images)
        logits, features = passing(images)
        distances = None
        if pool is not None:
            parts = [pool.distances(part).squeeze(1) for part in features.split(8192)]
            distances = torch.cat(parts)
        return Outputs(logits, features, distances)

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
    found = read_features(folder)
    if found is not None:
        check_queue(found[0], task.n_classes, dim)
        queue = found[0][:, : max(task.counts)].to(device)
        occupied = (queue != 0).any(dim=2)  # (C, slots)
        pool = FeaturePool(occupied.sum(1).tolist(), dim, device)
        pool.fill(queue[occupied], occupied.nonzero()[:, 0])
        return pool, str(folder / found[1])
    train, pool = task.train(), FeaturePool(task.counts, dim, device)
    _, features = passing(train)
    pool.fill(features, train.labels)
    if distributed.is_main() and pool.queue_bytes <= MAX_QUEUE_BYTES:
        save_tensor(folder / PLAIN_FEATURES, pool.queue().cpu())
    return pool, f"{folder / PLAIN_FEATURES} (made from the training images)"


def score_sets(
    passes: Passes, metric: str, tau: float, counts: Sequence[int], maha_sign: str, trained_tau: float = 0.0
) -> tuple[Scored, dict[str, Scored]]:
    """Scores of one metric at one prior exponent for the ID test set and every outlier set.

    With a `trained_tau` the balanced metrics use the posterior that a training with it gives (`Outputs.log_beta`).
    """
    device = passes.id_labels.device
    log_prior = longtail.log_prior(longtail.adjustments(counts, tau)).to(device)
    trained = longtail.adjustments(counts, trained_tau).to(device) if trained_tau else None

    def scored(outputs: Outputs, labels: Tensor) -> Scored:
        values = outputs.scores(metric, log_prior, maha_sign, trained).cpu().numpy()
        return Scored(values, outputs.predictions(metric).cpu().numpy(), labels.cpu().numpy())

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
    if any("maha" in metric for metric in settings.metrics):
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
        if settings.posterior != "published" and metric in BALANCED:  # never in the place of the published numbers
            folder = out / f"{metric}-tau{tau}-{settings.posterior}"
        id_test, outliers = score_sets(passes, metric, tau, task.counts, settings.maha_sign, settings.divided_tau)
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
                pictures=len(combinations) == 1,
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

"""Speed of the hot paths against their literal forms, as ratios measured in one run on the same inputs.

| what | literal form | expected |
|---|---|---|
| gradient norms of 1,000 images, C = 100 | automatic differentiation, one image at a time | >= 100 x |
| Mahalanobis values of 1,000 images, C = 100 | inverse and quadratic forms, one image at a time | >= 100 x |
| contrastive loss with gradient, C = 1,000 | loop over all classes | >= 8 x |
| all metrics of a test | one forward pass for each metric | >= 6 x |
| data pipeline and losses | share of a training step of the bare network | <= 10 % |

    python benchmarks/bench_methods.py [--repeats 5] [--out results/speed.json] [--device cpu]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from imood import longtail
from imood.contrastive import pascl_loss
from imood.data.batches import Feed
from imood.data.images import Resident
from imood.data.views import SMALL
from imood.losses import Objective, training_losses
from imood.networks import build
from imood.passes import Pass
from imood.pool import FeaturePool
from imood.scores import Outputs, fitting
from ood_shared import runs
from ood_shared.files import write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from literal import contrastive_with_class_loop, gradient_norms, mahalanobis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)  # ratios then do not depend on what else the machine does
    g = torch.Generator().manual_seed(0)
    rows = [
        gradient_norm_row(g, options.repeats, device),
        mahalanobis_row(g, options.repeats, device),
        contrastive_row(g, options.repeats, device),
        one_pass_row(g, options.repeats, device),
        overhead_row(g, options.repeats, device),
    ]
    for row in rows:
        unit = f"{100 * row['ratio']:.1f} %" if row["name"].startswith("data pipeline") else f"{row['ratio']:.0f} x"
        print(f"{row['name']:<52} {row['literal_ms']:>10.2f} ms {row['fast_ms']:>9.2f} ms  {unit}", flush=True)
    if options.out is not None:
        write_json(options.out, {"hardware": runs.hardware(device), "versions": runs.versions(), "rows": rows})


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - started)


def measured(
    name: str, literal: Callable[[], object], fast: Callable[[], object], repeats: int, device: torch.device
) -> dict[str, object]:
    """Medians and spreads (largest minus smallest) of both, in turns after a warm-up."""
    times: dict[str, list[float]] = {"literal": [], "fast": []}
    fast()
    for _ in range(repeats):
        times["literal"].append(timed(literal, device))
        times["fast"] += [timed(fast, device) for _ in range(3)]
    found: dict[str, object] = {"name": name}
    for key, values in times.items():
        found |= {f"{key}_ms": statistics.median(values), f"{key}_spread_ms": max(values) - min(values)}
    return found | {"ratio": statistics.median(times["literal"]) / statistics.median(times["fast"])}


def gradient_norm_row(g: torch.Generator, repeats: int, device: torch.device) -> dict[str, object]:
    weight, bias = (torch.randn(shape, generator=g).to(device) for shape in ((100, 512), (100,)))
    features = torch.randn(1000, 512, generator=g).to(device)
    logits = F.linear(features, weight, bias)
    return measured(
        "gradient norms of 1000 images, C = 100",
        lambda: gradient_norms(weight, bias, features),
        lambda: Outputs(logits, features).gradient_norm(),
        repeats,
        device,
    )


def mahalanobis_row(g: torch.Generator, repeats: int, device: torch.device) -> dict[str, object]:
    pool = FeaturePool([20] * 100, 512, device)
    pool.fill(torch.randn(2000, 512, generator=g).to(device), torch.arange(2000).to(device) % 100)
    queues, features = pool.per_class(), torch.randn(1000, 512, generator=g).to(device)

    def fast() -> torch.Tensor:
        pool._frame = None  # the factorisation counts
        return pool.distances(features)

    return measured(
        "Mahalanobis values of 1000 images, C = 100", lambda: mahalanobis(queues, features), fast, repeats, device
    )


def contrastive_row(g: torch.Generator, repeats: int, device: torch.device) -> dict[str, object]:
    views = F.normalize(torch.randn(160, 2, 128, generator=g), dim=2).to(device)
    ood = F.normalize(torch.randn(192, 128, generator=g), dim=1).to(device)
    labels, weights = torch.randint(600, 1000, (160,), generator=g).to(device), torch.ones(1000, device=device)
    leaf = views.clone().requires_grad_()
    return measured(
        "contrastive loss and gradient, C = 1000",
        lambda: contrastive_with_class_loop(leaf, ood, labels, 0.07, 1000, weights).backward(),
        lambda: pascl_loss(leaf, ood, labels, 0.07).backward(),
        repeats,
        device,
    )


def one_pass_row(g: torch.Generator, repeats: int, device: torch.device) -> dict[str, object]:
    network = build("ResNet18", 10, 10, width=16).to(device).eval()
    images = Resident(torch.randint(0, 256, (500, 3, 32, 32), generator=g, dtype=torch.uint8), torch.zeros(500), device)
    passing, metrics = Pass(network, SMALL, 250, device), fitting(10, 10)
    log_prior = longtail.log_prior(longtail.adjustments([100] * 5 + [10] * 5, 1.0)).to(device)
    pool = FeaturePool([20] * 10, network.classifier.in_features, device)
    pool.fill(passing(images)[1][:200], torch.arange(200).to(device) % 10)

    def scored(names: list[str]) -> None:
        logits, features = passing(images)
        outputs = Outputs(logits, features, pool.distances(features).squeeze(1))
        for name in names:
            outputs.scores(name, log_prior)

    return measured(
        f"{len(metrics)} metrics of 500 images",
        lambda: [scored([name]) for name in metrics],
        lambda: scored(metrics),
        repeats,
        device,
    )


def overhead_row(g: torch.Generator, repeats: int, device: torch.device) -> dict[str, object]:
    """Order, augmentation and losses (`ada_bin_disc`, `pascl`, with gradients) as a share of a bare step."""
    n = 64 if device.type == "cpu" else 256
    network = build("ResNet18", 10, 11).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    pixels = torch.randint(0, 256, (4 * n, 3, 32, 32), generator=g, dtype=torch.uint8)
    labels = torch.arange(4 * n) % 10
    feed = Feed(Resident(pixels, labels, device), Resident(pixels, labels, device), SMALL, n, 0, device)
    objective, adjustment = Objective("ada_bin_disc", 10, "pascl"), longtail.adjustments([100] * 10, 1.0).to(device)
    fixed = next(feed.epoch(0))
    logits, features = (part.detach().requires_grad_() for part in network(fixed.images))

    def bare() -> None:
        outputs, rows = network(fixed.images)
        optimizer.zero_grad()
        (outputs.mean() + rows.mean()).backward()
        optimizer.step()

    def added() -> None:
        next(feed.epoch(0))
        parts = training_losses(objective, logits, features, fixed.labels, adjustment, network)
        (parts.id_loss + 0.5 * parts.ood_loss + 0.05 * parts.aux_loss).backward()

    found = measured(f"data pipeline and losses, {3 * n} images, of a bare step", bare, added, repeats, device)
    return found | {"ratio": 1 / found["ratio"]}  # type: ignore[operator]


if __name__ == "__main__":
    main()

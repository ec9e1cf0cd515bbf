"""Ratios of the hot paths within one run: attribution, the training step, all scores at once, the search of ODIN.

    python benchmarks/bench_speed.py [--batch 32] [--repeats 5] [--device cpu] [--output FILE]

attribution   the literal path (all gradients, then thrown away) over the gradient by the input only; claim 1.25
step          the whole training step over attribution + joint forward and backward of the bare network; claim 1.08
evaluator     score by score, each with its own passes of the network, over all non-gradient scores at once; claim 5
odin search   the literal sweep (two forward passes and one backward for each of the 28 settings) over ours; claim 2.5

Both sides of a ratio take turns, and the medians count. Exit status 1 when a claim does not hold.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from ascood.attribution import saliency
from ascood.build import parameter_groups, to_device
from ascood.heads import ASCOODNet
from ascood.losses import ascood_loss
from ascood.networks import make_backbone
from ascood.objectives import AscoodArgs, Pass, ascood_step
from ascood.scores.base import Extract, FeatureScore, TrainingFeatures
from ascood.scores.catalogue import make_score
from ascood.scores.names import GRADIENT_SCORES, SCORES
from ascood.scores.odin import ODIN, input_step
from ascood.scoring import score_outputs
from ascood.search import combinations
from ascood.testing import filled
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.training import update
from torch import Tensor, nn

CLAIMS = {"attribution": 1.25, "step": 1.08, "evaluator": 5.0, "odin search": 2.5}
AT_MOST = ("step",)  # the others are at least
STD = (0.2470, 0.2435, 0.2616)


def main() -> int:
    parser = Parser(prog="bench_speed.py", description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="images of a training step, and of an evaluation batch")
    parser.add_argument("--images", type=int, default=64, help="images of each set of the evaluator")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--network", default="resnet18_32x32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return run_command(bench, parser)


def bench(options: argparse.Namespace) -> int:
    device = resolve_device(options.device)
    torch.manual_seed(0)
    network = to_device(filled(ASCOODNet(make_backbone(options.network, 10), 0.5), 0), device)
    images = torch.randn(options.batch, 3, 32, 32, device=device)
    labels = torch.randint(10, (options.batch,), device=device)
    measured = {
        "attribution": bench_attribution(network, images, labels, options.repeats, device),
        "step": bench_step(network, images, labels, options.repeats, device),
        "evaluator": bench_evaluator(network, options, device),
        "odin search": bench_search(network.eval(), images, options, device),
    }
    failed = []
    figures = {}
    for name, (slow, fast) in measured.items():
        ratio = statistics.median(slow) / statistics.median(fast)
        holds = ratio <= CLAIMS[name] if name in AT_MOST else ratio >= CLAIMS[name]
        failed += [] if holds else [name]
        sign = "<=" if name in AT_MOST else ">="
        print(f"{name:<12} {ratio:5.2f}  (claim {sign} {CLAIMS[name]}){'' if holds else '  DOES NOT HOLD'}")
        figures[name] = {"ratio": ratio, "claim": CLAIMS[name], "first_seconds": slow, "second_seconds": fast}
    if options.output:
        setting = {"network": options.network, "batch": options.batch, "images": options.images}
        where = {"threads": torch.get_num_threads(), "hardware": runs.hardware(device), "versions": runs.versions()}
        files.write_json(options.output, {"setting": setting, "figures": figures, **where})
    return 1 if failed else 0


Times = tuple[list[float], list[float]]


def bench_attribution(network: nn.Module, images: Tensor, labels: Tensor, repeats: int, device: torch.device) -> Times:
    """The literal path, and the gradient by the input only; their results must agree."""

    def literal() -> Tensor:
        network.eval()
        inputs = images.clone().requires_grad_(True)
        logits = network(inputs)
        network.zero_grad()
        logits.gather(1, labels[:, None]).sum().backward()
        network.train()
        assert inputs.grad is not None
        return inputs.grad

    found, expected = saliency(network, images, labels), literal()
    network.zero_grad()
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max())), "the two attributions differ"
    return in_turns(literal, lambda: saliency(network, images, labels), repeats, device)


def bench_step(network: nn.Module, images: Tensor, labels: Tensor, repeats: int, device: torch.device) -> Times:
    """The whole step, and the network's own work in it: attribution, joint forward and backward."""
    run = Pass(network, network, contextlib.nullcontext, contextlib.nullcontext, torch.Generator(device))
    args = AscoodArgs(ood_type="gradient", p_inv=0.1)
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-4, 1.0), momentum=0.9, weight_decay=0.0005, nesterov=True)
    scaler = torch.amp.GradScaler(device.type, enabled=False)
    network.train()

    def whole() -> None:
        update(network, optimizer, scaler, ascood_step(run, args, images, labels, 30.0)["loss"])

    def bare() -> None:
        saliency(network, images, labels)
        optimizer.zero_grad(set_to_none=True)
        logits = network(torch.cat([images, images]))
        ascood_loss(logits[: len(images)], labels, logits[len(images) :], 1.0)[0].backward()

    return in_turns(whole, bare, repeats, device)


def bench_evaluator(network: nn.Module, options: argparse.Namespace, device: torch.device) -> Times:
    """Every non-gradient score on four sets: each score with passes of its own, and all from one pass."""
    network.eval()
    names = [name for name in SCORES if name not in (*GRADIENT_SCORES, "t2fnorm")]
    sets = {name: torch.randn(options.images, 3, 32, 32, device=device) for name in ("train", "val", "test", "ood")}
    layer = network.get_fc_layer()

    def extract(name: str) -> Extract:
        with torch.no_grad():
            parts = [network(batch, return_feature=True) for batch in sets[name].split(options.batch)]
        logits, features = (torch.cat([part[at] for part in parts]) for at in (0, 1))
        return Extract(logits, features, torch.arange(len(logits), device=device) % 10)

    def score_sets(name: str, get: Callable[[str], Extract]) -> None:
        score = make_score(name)
        assert isinstance(score, FeatureScore)
        with torch.no_grad():
            score.fit(TrainingFeatures(get, layer.weight.detach(), layer.bias.detach()))
            score.prepare()
            for of_test in ("test", "ood"):
                score_outputs(score, get(of_test))

    def separately() -> None:
        for name in names:
            score_sets(name, extract)

    def together() -> None:
        kept: dict[str, Extract] = {}

        def get(name: str) -> Extract:
            return kept.setdefault(name, kept.get(name) or extract(name))

        for name in names:
            score_sets(name, get)

    together()  # imports and first calls
    return in_turns(separately, together, max(1, options.repeats // 2), device)


def bench_search(network: nn.Module, images: Tensor, options: argparse.Namespace, device: torch.device) -> Times:
    """The search of ODIN over one batch, setting by setting as first written, and with the gradient's sign shared."""
    score = make_score("odin")
    assert isinstance(score, ODIN)
    temperatures, noises = score.sweep

    def literal() -> None:
        for temperature, noise in combinations(score.sweep):
            inputs = images.clone().requires_grad_(True)
            logits = network(inputs)
            F.cross_entropy(logits / temperature, logits.detach().argmax(1)).backward()
            assert inputs.grad is not None
            sign = torch.where(inputs.grad >= 0, 1.0, -1.0) / torch.tensor(STD, device=device).view(1, -1, 1, 1)
            with torch.no_grad():
                (network(inputs - noise * sign) / temperature).softmax(1).amax(1)
            network.zero_grad()

    def shared() -> None:
        for temperature in temperatures:
            score.args["temperature"] = temperature
            score.score_images(network, images, STD, noises)

    input_step(network, images, 1.0, STD, single_value=False)
    return in_turns(literal, shared, max(1, options.repeats // 2), device)


def in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int, device: torch.device) -> Times:
    """Seconds of both, one after the other, after one call of each that does not count."""
    times: Times = ([], [])
    for turn in range(repeats + 1):
        for function, found in zip((first, second), times, strict=True):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                found.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    sys.exit(main())

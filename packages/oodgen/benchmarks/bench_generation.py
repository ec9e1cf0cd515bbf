"""Speed of type-1 generation: the whole way from images to outliers against the literal way.

    python benchmarks/bench_generation.py [--samples 1000] [--literal 50] [--symbolic 1] [--output FILE]

The literal way is the method as first written: the full-size decoder, one backward pass per pixel (784, each for all
samples of the chunk), then sample by sample a full singular value decomposition of the Jacobian for an orthonormal
basis of the null space, the direction from that basis, and the outlier. It takes minutes per 1,000 samples, so it runs
on the first `--literal` samples and its time is scaled; the outliers of these samples must be those of the fast way,
else the exit status is 1. The published programs have a symbolic row reduction in place of the decomposition, slower by
two to three orders of magnitude: `--symbolic N` times that on N samples, outside the ratio.

The network has fixed random weights (the fill rule of the golden vectors): speed does not depend on training.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.testing.golden import fill_state_dict
from oodgen.manifold import decoder_jacobian, null_space_direction
from oodgen.off_manifold import draw_distance, draw_noise, draw_sign, make_off_manifold
from oodgen.vae import VAE, one_hot
from torch import Tensor

SEED = 0
TOLERANCE = 2e-4  # of the golden vectors, for a projector from a float32 Jacobian
CLASSES, BATCH = 10, 128


def main() -> int:
    parser = Parser(prog="bench_generation.py", description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="samples of the fast way")
    parser.add_argument("--literal", type=int, default=50, help="samples of the literal way")
    parser.add_argument("--symbolic", type=int, default=0, help="samples of the symbolic null space (seconds each)")
    parser.add_argument("--repeats", type=int, default=5, help="timings of the fast way; the median counts")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return run_command(bench, parser)


def bench(options: argparse.Namespace) -> int:
    device = resolve_device(options.device)
    vae = fill_state_dict(VAE(CLASSES)).to(device).eval()
    images, labels = make_inputs(options.samples)
    literal_count = min(options.literal, options.samples)
    with torch.no_grad():
        z = vae.encode(images.to(device), one_hot(labels, CLASSES).to(device))[0]

    def fast() -> Tensor:
        return make_off_manifold(vae, images, images, labels, generator=generator(), chunk=chunk)

    chunk = BATCH if device.type == "cpu" else options.samples
    fast_times = timed(fast, options.repeats, device)
    fast_seconds = statistics.median(fast_times) * 1000 / options.samples
    parts = {"jacobian": 0.0, "null_space": 0.0, "outlier": 0.0}
    literal_outliers = literal(vae, images, labels, z, literal_count, parts, device)
    scale = 1000 / literal_count
    literal_seconds = sum(parts.values()) * scale
    difference = (fast()[:literal_count].cpu() - literal_outliers).abs().max().item()

    fast_parts = time_fast_parts(vae, z, labels, options, device)
    decoder = time_decoder(vae, options.repeats, device)
    figures = {
        "samples": options.samples,
        "literal_samples": literal_count,
        "seconds_per_1000": {"fast": fast_seconds, "literal_scaled": literal_seconds},
        "fast_spread": [min(fast_times) * 1000 / options.samples, max(fast_times) * 1000 / options.samples],
        "ratio": literal_seconds / fast_seconds,
        "parts_per_1000": {
            name: {"fast": fast_parts[name], "literal_scaled": parts[name] * scale} for name in fast_parts
        },
        "decoder_step": decoder,
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "threads": torch.get_num_threads(),
        "hardware": runs.hardware(device),
        "versions": runs.versions(),
    }
    print(f"fast     {fast_seconds:9.3f} s per 1000 samples (median of {options.repeats} runs of {options.samples})")
    print(f"literal  {literal_seconds:9.1f} s per 1000 samples (scaled from {literal_count} samples)")
    for name, pair in figures["parts_per_1000"].items():
        print(f"  {name:<11} fast {pair['fast']:8.3f} s, literal {pair['literal_scaled']:8.1f} s")
    print(
        f"decoder, forward and backward, batch {BATCH}: cropped {decoder['cropped'] * 1e3:.1f} ms, "
        f"full size {decoder['full_size'] * 1e3:.1f} ms, ratio {decoder['full_size'] / decoder['cropped']:.2f}"
    )
    if options.symbolic:
        symbolic = time_symbolic(vae, z, labels, min(options.symbolic, options.samples))
        figures["symbolic_null_space_seconds_per_1000"] = symbolic
        print(f"symbolic null space alone {symbolic:9.1f} s per 1000 samples (scaled from {options.symbolic})")
    print(f"outliers of the {literal_count} samples: largest difference {difference:.1e}, allowed {TOLERANCE:.0e}")
    print(f"ratio {figures['ratio']:.1f}")
    if options.output:
        files.write_json(options.output, figures)
    if difference > TOLERANCE:
        print("the two ways disagree", file=sys.stderr)
        return 1
    return 0


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def make_inputs(n: int) -> tuple[Tensor, Tensor]:
    images = torch.rand(n, 1, 28, 28, generator=generator())
    return images, torch.arange(n) % CLASSES


def literal(
    vae: VAE, images: Tensor, labels: Tensor, z: Tensor, count: int, parts: dict[str, float], device: torch.device
) -> Tensor:
    """The first `count` outliers; seconds go to `parts`."""
    draws = generator()  # the draws of make_off_manifold, in its order
    distance = draw_distance(len(images), 0.1, 28.0, draws)
    sign = draw_sign(len(images), "binary", draws)
    noise = draw_noise(len(images), 784, "normal", draws)
    condition = one_hot(labels[:count], CLASSES).to(device)
    started = now(device)
    codes = z[:count].clone().requires_grad_()
    decoded = full_size_decoder(vae, codes, condition).flatten(1)
    rows = [torch.autograd.grad(decoded[:, k].sum(), codes, retain_graph=True)[0] for k in range(decoded.shape[1])]
    jacobians = torch.stack(rows, dim=1)  # (count, 784, d)
    parts["jacobian"] = now(device) - started
    outliers = []
    for i in range(count):
        started = now(device)
        left, values, _ = torch.linalg.svd(jacobians[i].double(), full_matrices=True)
        basis = left[:, int((values > 1e-6 * values.max()).sum()) :]  # 784 x (784 - rank)
        directed = now(device)
        v = basis @ (basis.T @ noise[i].double().to(device))
        step = (sign[i] * distance[i]).to(device) * (v / v.norm()).float()
        outliers.append((images[i].to(device) + step.view(1, 28, 28)).clamp(0, 1).cpu())
        parts["null_space"] += directed - started
        parts["outlier"] += now(device) - directed
    return torch.stack(outliers)


def full_size_decoder(vae: VAE, z: Tensor, y: Tensor) -> Tensor:
    x = F.relu(vae.fc22(F.relu(vae.fc21(torch.cat([z, y], dim=1))))).view(-1, 64, 7, 7)
    return torch.sigmoid(vae.conv5(F.relu(vae.conv4(F.relu(vae.conv3(x))))))


def time_fast_parts(
    vae: VAE, z: Tensor, labels: Tensor, options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """Seconds per 1000 samples of the Jacobian and of the projection, each alone."""
    y = one_hot(labels, CLASSES).to(device)
    jacobian = decoder_jacobian(vae, z, y)[1]
    noise = draw_noise(len(z), 784, "normal", generator()).to(device)

    def project() -> None:
        for part, w in zip(jacobian.split(BATCH), noise.split(BATCH), strict=True):
            null_space_direction(part, w)

    times = {
        "jacobian": timed(lambda: decoder_jacobian(vae, z, y), options.repeats, device),
        "null_space": timed(project, options.repeats, device),
    }
    return {name: statistics.median(found) * 1000 / len(z) for name, found in times.items()}


def time_decoder(vae: VAE, repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of one forward and backward pass of a batch: the decoder's part of a training step."""
    z = torch.randn(BATCH, vae.latent_dim, generator=generator()).to(device)
    y = one_hot(torch.arange(BATCH) % CLASSES, CLASSES).to(device)
    step = lambda decoder: decoder(z, y).sum().backward()  # noqa: E731
    full = lambda z, y: full_size_decoder(vae, z, y)  # noqa: E731
    found = {
        "cropped": timed(lambda: step(vae.decoder), 5 * repeats, device),
        "full_size": timed(lambda: step(full), 5 * repeats, device),
    }
    return {name: statistics.median(times) for name, times in found.items()}


def time_symbolic(vae: VAE, z: Tensor, labels: Tensor, count: int) -> float:
    """Seconds per 1000 samples of the published null space: symbolic row reduction, then numbers again."""
    import sympy  # comes with torch

    jacobian = decoder_jacobian(vae, z[:count], one_hot(labels[:count], CLASSES).to(z.device))[1].cpu()
    started = time.perf_counter()
    for matrix in jacobian:
        vectors = sympy.Matrix(matrix.T.tolist()).nullspace()
        torch.tensor([[float(entry) for entry in vector] for vector in vectors])
    return (time.perf_counter() - started) * 1000 / count


def timed(function: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Seconds of each call after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        started = now(device)
        function()
        times.append(now(device) - started)
    return times


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())

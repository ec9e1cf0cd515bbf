"""Speed of what surrounds the network in training, and of scoring, each against its literal way in the same run.

    python benchmarks/bench_step.py [--layers 40] [--steps 8] [--device cpu] [--output FILE]

(a) latent sampling     10,000 draws for each class, their densities, the 64 lowest  ·  extreme radii and directions
(b) pixel outliers      one image after the other with Pillow, one CPU thread        ·  whole batches of integer tensors
(c) a training step     its share outside the network's forward and backward pass; the bare network's step beside it
(d) scoring             fp32  ·  bf16 in channels_last

The literal ways are those that the tests compare with. The network has random weights: speed does not depend on them.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from know_your_space.data.parts import Part
from know_your_space.data.training import TrainingData
from know_your_space.inliers import draw_latent
from know_your_space.networks import WideResNet
from know_your_space.outliers import pixel_outliers
from know_your_space.settings import TrainSettings
from know_your_space.train import RunFiles, make_job
from know_your_space.transforms import evaluation_transform
from ood_shared import files, runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import autocast, resolve_device
from ood_shared.testing.modules import module_of
from ood_shared.testing.timing import Timing, measure_in_turns, synchronise
from ood_shared.training import Compute
from PIL import Image
from torch import nn
from torchvision.transforms import RandomAffine

CLASSES, BATCH, SEVERITY, IMAGES = 6, 128, 11, 512
WANTED = {"sampling": 30.0, "outliers": 4.0, "scoring": 1.5}
WANTED_SHARE = 0.08
TESTS = Path(__file__).parents[1] / "tests"


def main() -> int:
    parser = Parser(prog="bench_step.py", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=40, help="depth of the network")
    parser.add_argument("--steps", type=int, default=8, help="training steps that count")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of (a), (b) and (d)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return run_command(bench, parser)


def bench(options: argparse.Namespace) -> int:
    device = resolve_device(options.device)
    figures: dict[str, Any] = {
        "sampling": _ratio(sampling(options.repeats, device)),
        "outliers": _ratio(outliers(options.repeats, device)),
        "training_step": training_step(options.layers, options.steps, device),
        "scoring": _ratio(scoring(options.layers, options.repeats, device)),
        "layers": options.layers,
        "batch": BATCH,
        "threads": torch.get_num_threads(),
        "hardware": runs.hardware(device),
        "versions": runs.versions(),
    }
    for name, wanted in WANTED.items():
        found = figures[name]
        ways = ", ".join(f"{way} {1000 * t['median']:.2f} ms" for way, t in found.items() if isinstance(t, dict))
        print(f"{name:<14} {ways}: {found['ratio']:.1f} times as fast, wanted {wanted:g}")
    step = figures["training_step"]
    print(
        f"training step  {1000 * step['whole']:.0f} ms, of it {1000 * step['outside']:.1f} ms "
        f"({100 * step['share']:.1f} %) outside the network, wanted {100 * WANTED_SHARE:.0f} %; "
        f"bare network {1000 * step['bare']:.0f} ms"
    )
    for name, seconds in step["parts"].items():
        print(f"    {name:<26} {1000 * seconds:8.2f} ms")
    if options.output:
        files.write_json(options.output, figures)
    return 0


def sampling(repeats: int, device: torch.device) -> dict[str, Timing]:
    """(a) of one step: 64 of 10,000 draws for each of six classes in 128 dimensions."""
    literal = module_of(TESTS / "literal_sampling.py").literal_latent_samples
    queue = torch.randn(CLASSES, 250, 128, generator=_generator()).to(device)
    on_cpu, generator = queue.cpu(), _generator()
    return measure_in_turns(
        {
            "literal": lambda: literal(on_cpu, 64, 10_000, generator),
            "fast": lambda: draw_latent(queue, 64, 10_000, generator),
        },
        repeats,
        device,
    )


def outliers(repeats: int, device: torch.device) -> dict[str, Timing]:
    """(b) of 512 images: AugMix and tile shuffle, on one CPU thread when the device is the CPU."""
    literal, generator = module_of(TESTS / "literal_augmix.py"), _generator()
    pixels = torch.randint(0, 256, (IMAGES, 3, 28, 28), generator=generator, dtype=torch.uint8)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    random, move = np.random.RandomState(0), RandomAffine(15, translate=(0.05, 0.05))
    on_device = pixels.to(device)

    def one_by_one() -> None:
        for picture in pictures:
            mixed = literal.mix(picture, literal.draw(SEVERITY, random), 32, lambda image, _: move(image))
            tiles = mixed.unfold(1, 8, 8).unfold(2, 8, 8).reshape(3, 16, 8, 8)  # (3, tiles, 8, 8)
            shuffled = tiles[:, torch.randperm(16)].reshape(3, 4, 4, 8, 8)
            shuffled.permute(0, 1, 3, 2, 4).reshape(3, 32, 32)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure_in_turns(
            {
                "literal": one_by_one,
                "fast": lambda: pixel_outliers(on_device, ("augmix_jigsaw",), SEVERITY, generator),
            },
            repeats,
            device,
        )
    finally:
        torch.set_num_threads(threads)


def training_step(layers: int, steps: int, device: torch.device) -> dict[str, Any]:
    """(c) seconds of the parts of a step with margin loss, means over `steps`, and of the bare network's step."""
    settings = TrainSettings(CLASSES, layers=layers, batch_size=BATCH, start_epoch=1, sample_number=10)
    n = BATCH * (steps + 2)
    labels = torch.arange(n) % CLASSES
    images = torch.randint(0, 256, (n, 3, 28, 28), generator=_generator(), dtype=torch.uint8)
    names = tuple(str(number) for number in range(CLASSES))
    part = Part(images, labels, tuple(range(CLASSES)), names, "noise", "train", "noise", (28, 28))
    place = RunFiles(Path("unused-ckpt.pth.tar"), Path("unused-ckpt_last.pth.tar"))
    network, job = make_job(TrainingData(part, part), settings, place, Compute(device))
    clock = Clock(device)
    job.step.forward = clock.timed("network forward", network)
    network.train()
    assert job.outliers is not None
    rows = 0
    for number, (pixels, y, _) in enumerate(job.loader):
        if number == 2:  # the queues are full, the kernels warm
            clock.reset()
        clock.start()
        made = next(job.outliers)
        clock.stop("pixel outliers")
        found = job.step(pixels, y, made, epoch=1)
        clock.stop("transforms, queue, losses")
        job.optimizer.zero_grad(set_to_none=True)
        clock.stop("optimizer")
        found.total.backward()
        clock.stop("network backward")
        job.optimizer.step()
        clock.stop("optimizer")
        if number >= 2:
            rows += len(pixels) + len(made)
    parts = {name: seconds / steps for name, seconds in clock.seconds.items()}
    whole = sum(parts.values())
    outside = sum(seconds for name, seconds in parts.items() if not name.startswith("network"))
    bare = _bare(network, rows // steps, device)
    return {"parts": parts, "whole": whole, "outside": outside, "share": outside / whole, "bare": bare}


def scoring(layers: int, repeats: int, device: torch.device) -> dict[str, Timing]:
    """(d) of 1,000 stored images, the transform included."""
    torch.manual_seed(0)
    network = WideResNet(CLASSES, layers).to(device).eval()
    wide = WideResNet(CLASSES, layers).to(device).eval()
    wide.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (1000, 3, 28, 28), generator=_generator(), dtype=torch.uint8).to(device)

    def score(net: nn.Module, precision: str, layout: torch.memory_format) -> None:
        with torch.inference_mode():
            for batch in images.split(250):
                x = evaluation_transform(batch).contiguous(memory_format=layout)
                with autocast(device, precision):
                    net(x)[0].float().logsumexp(dim=1)

    return measure_in_turns(
        {
            "literal": lambda: score(network, "fp32", torch.contiguous_format),
            "fast": lambda: score(wide, "bf16", torch.channels_last),
        },
        max(2, repeats // 2),
        device,
    )


class Clock:
    """Seconds by name, with the device waited for at each mark; `timed` calls inside a part are taken out of it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside, self._since = 0.0, time.perf_counter()

    def start(self) -> None:
        synchronise(self.device)
        self._inside, self._since = 0.0, time.perf_counter()

    def stop(self, name: str) -> None:
        synchronise(self.device)
        now = time.perf_counter()
        self._add(name, now - self._since - self._inside)
        self._inside, self._since = 0.0, now

    def timed(self, name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            synchronise(self.device)
            started = time.perf_counter()
            found = function(*arguments)
            synchronise(self.device)
            taken = time.perf_counter() - started
            self._inside += taken
            self._add(name, taken)
            return found

        return call

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def _bare(network: nn.Module, rows: int, device: torch.device) -> float:
    """Median seconds of forward and backward on as many rows, nothing else."""
    x = torch.randn(rows, 3, 32, 32, generator=_generator()).to(device).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(x)[0].logsumexp(dim=1).mean().backward()

    return measure_in_turns({"bare": step}, 3, device)["bare"].median


def _ratio(found: dict[str, Timing]) -> dict[str, Any]:
    ratio = found["literal"].median / found["fast"].median
    return {**{name: timing.record() for name, timing in found.items()}, "ratio": ratio}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


if __name__ == "__main__":
    sys.exit(main())

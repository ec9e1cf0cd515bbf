"""Channels last and small parts on a CPU, against the plain layout and parts of 128 slices.

    python benchmarks/bench_layout.py [--repeats 3] [--output FILE.json]

One volume along one axis, and one training step, each in both ways within one run; the results must agree. Memory is
the peak of the process after the volume in the new way, and after it in the old way.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from mood_dpa.checkpoints import Model, build_families
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.scores import SliceSelection, axis_map
from mood_dpa.vgg import BOUND
from ood_shared import files, runs
from ood_shared.devices import peak_memory
from ood_shared.testing.timing import measure_in_turns

CPU = torch.device("cpu")
AGREE = 1e-4  # of the largest value: float32 sums in another order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--slices", type=int, default=128, help="of the volume")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8, help="of the training step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    side = options.side
    volume = torch.rand(options.slices, side, side, generator=torch.Generator().manual_seed(0))
    selection = SliceSelection(True, side, small_area=100)
    new, old = (make_model(options, layout) for layout in (torch.channels_last, torch.contiguous_format))

    def score(model: Model) -> torch.Tensor:
        model.loss.reduction = "pixelwise"
        model.loss.volumes = True
        return axis_map(volume, model, 0, selection, tuple(volume.shape))

    one = score(new)
    memory_new = peak_memory(CPU)
    with parts_of(BOUND):
        two = score(old)
    memory_old = peak_memory(CPU)
    apart = float((one - two).abs().max() / two.max())
    images = volume[: options.batch, None] * 2 - 1
    apart_step = abs(step(new, images) - step(old, images))
    for what, value in (("maps", apart), ("losses", apart_step)):
        if not value < AGREE:
            raise SystemExit(f"the {what} differ by {value:.2g}, more than {AGREE:g}")

    def old_score() -> None:
        with parts_of(BOUND):
            score(old)

    volumes = measure_in_turns({"old": old_score, "new": lambda: score(new)}, options.repeats, CPU)
    steps = measure_in_turns({"old": lambda: step(old, images), "new": lambda: step(new, images)}, options.repeats, CPU)
    record = {
        "volume_ratio": volumes["old"].median / volumes["new"].median,
        "step_ratio": steps["old"].median / steps["new"].median,
        "memory_gib": {"new": memory_new / 2**30, "old": memory_old / 2**30},
        "memory_ratio": memory_old / memory_new,
        "largest_difference": {"map": apart, "loss": apart_step},
        "seconds": {f"volume, {k}": v.record() for k, v in volumes.items()}
        | {f"step, {k}": v.record() for k, v in steps.items()},
        "settings": {k: v for k, v in vars(options).items() if k != "output"},
        "hardware": runs.hardware(CPU),
        "versions": runs.versions(),
    }
    print(
        f"a volume {record['volume_ratio']:.2f} times, a training step {record['step_ratio']:.2f} times as fast, with "
        f"{memory_new / 2**30:.1f} instead of {memory_old / 2**30:.1f} GiB"
    )
    if options.output:
        files.write_json(options.output, record)


@contextmanager
def parts_of(count: int) -> Iterator[None]:
    """So many images in one pass, whatever they are."""
    with (
        mock.patch("mood_dpa.scores.images_at_once", return_value=count),
        mock.patch("mood_dpa.perceptual.images_at_once", return_value=count),
    ):
        yield


def make_model(options: argparse.Namespace, layout: torch.memory_format) -> Model:
    torch.manual_seed(0)
    res, width = options.side, options.width
    widths = {"type": "residual9", "kwargs": {"inner_dims": [width] * (res.bit_length() - 2)}}
    common = {"latent_res": 1, "latent_dim": width, "image_dim": 1}
    encoder, decoder = (
        family.net("stab", res)
        for family in build_families({"max_image_res": res, "enc": widths, "dec": widths, **common})
    )
    layers = {res: {"img_weight": 0, "feature_weights": {"r32": 1}}}
    loss = PerceptualLoss(layers, use_L1_norm=True, use_relative_error=True, normalize_to_vgg_input=False)
    for part in (encoder, decoder, loss):
        part.to(memory_format=layout)  # type: ignore[call-overload]
    return Model(encoder, decoder, loss, res, {})


def step(model: Model, images: torch.Tensor) -> float:
    """Forward and backward of a training step; the weights stay, so that both ways compute the same."""
    model.loss.reduction = "mean"
    model.loss.volumes = False
    for net in (model.encoder, model.decoder):
        net.zero_grad(set_to_none=True)
    value = model.loss(images, model.decoder(model.encoder(images)))
    value.backward()
    return float(value.detach())


if __name__ == "__main__":
    main()

"""A training step of the loop against its bare networks: encoder, decoder, VGG19, backward, Adam.

    python benchmarks/bench_step.py [--device cpu] [--repeats 5] [--output FILE.json]

The loop adds reading ahead, resizing, growing, bookkeeping. Wanted: at most 1.08 times the bare networks.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mood_dpa.checkpoints import build_families
from mood_dpa.data.folds import folds_text
from mood_dpa.data.slices import Batches, Images
from mood_dpa.loop import Trainer
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.settings import ImageSet, LoopSettings
from ood_shared import files, runs
from ood_shared.devices import autocast, resolve_device
from ood_shared.testing.timing import measure_in_turns
from ood_shared.training import Compute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--res", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layer", default="r32")
    parser.add_argument("--steps", type=int, default=2, help="in one measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    with TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), options, device)
        images = trainer.source.take(options.batch).clone()

        def bare() -> None:
            for _ in range(options.steps):
                with autocast(device, options.precision):
                    loss = trainer.loss(images, trainer.decoder(trainer.encoder(images)))
                trainer.adam.zero_grad(set_to_none=True)
                loss.backward()
                trainer.adam.step()

        def loop() -> None:
            for _ in range(options.steps):
                trainer._iteration()

        found = measure_in_turns({"bare networks": bare, "loop": loop}, options.repeats, device)
    ratio = found["loop"].median / found["bare networks"].median
    print(f"a step of the loop takes {ratio:.3f} times the bare networks (wanted: at most 1.08)")
    if options.output:
        record = {
            "ratio": ratio,
            "seconds": {name: timing.record() for name, timing in found.items()},
            "settings": {k: v for k, v in vars(options).items() if k != "output"},
            "hardware": runs.hardware(device),
            "versions": runs.versions(),
        }
        files.write_json(options.output, record)


def make_trainer(at: Path, options: argparse.Namespace, device: torch.device) -> Trainer:
    """A trainer over packed slices of 128 x 128, as save_2D --packed writes them."""
    draws = np.random.default_rng(0)
    for number in range(4):
        np.save(at / f"{number:05d}.stack.npy", draws.random((64, 128, 128)).astype(np.float16))
        np.save(at / f"{number:05d}.index.npy", np.arange(64))
    (at / "folds.csv").write_text(folds_text([(f"{n:05d}.nii.gz", n) for n in range(4)]))
    res, width = options.res, options.width
    widths = {"type": "residual9", "kwargs": {"inner_dims": [width] * (res.bit_length() - 2)}}
    config: dict[str, Any] = {
        **{"max_image_res": res, "initial_image_res": res, "image_dim": 1, "latent_res": 1, "latent_dim": width},
        **{"trns_iter": 0, "stab_iter": 10**9, "log_iter": 10, "val_iter": 10**9, "image_sample_iter": 10**9},
        **{"early_stopping_patience": 3, "early_stopping_min_delta": 0, "batch_sizes": {res: options.batch}},
        **{"adam_kwargs": {"lr": 1e-4}, "enc": widths, "dec": widths},
    }
    kwargs = {"image_root": str(at), "folds_path": str(at / "folds.csv"), "fold": 0, "split": "train"}
    entry = {"dataset_type": "numpy2d", "dataset_kwargs": kwargs, "transform_kwargs": {"resize": res}}
    images = Images(ImageSet.of(entry))
    source = Batches(images, torch.Generator().manual_seed(0), device)
    weights = {res: {"img_weight": 0, "feature_weights": {options.layer: 1}}}
    loss = PerceptualLoss(weights, use_L1_norm=True, use_relative_error=True, normalize_to_vgg_input=False)
    trainer = Trainer(
        LoopSettings.of(config),
        build_families(config),
        loss,
        source,
        lambda: iter(()),
        source.display(4),
        compute=Compute(device, options.precision),
    )
    trainer.enter()
    return trainer


if __name__ == "__main__":
    main()

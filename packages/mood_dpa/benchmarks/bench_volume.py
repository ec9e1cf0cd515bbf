"""From one 128^3 NIfTI file to slices and a three-axis map in a NIfTI file: the share of time that is not the networks.

    python benchmarks/bench_volume.py [--device cpu] [--width 32] [--output FILE.json]

The same work is done once with the networks and once with networks that give back what they take and a comparison of
pixels; what remains is reading, slicing, resizing, turning, averaging and writing. Wanted: at most 10 %.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mood_dpa.checkpoints import Model, build_families
from mood_dpa.data.prepare import save_2d
from mood_dpa.data.volumes import write_volume
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.predict import AxisModel, Ensemble
from mood_dpa.predict_folder import predict_folder
from mood_dpa.scores import SliceSelection
from ood_shared import files, runs
from ood_shared.devices import resolve_device
from ood_shared.testing.timing import measure_in_turns
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--width", type=int, default=32, help="of the autoencoders; the shipped ones have 64 or 128")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    with TemporaryDirectory() as folder:
        at = Path(folder)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, options.side)] * 3, indexing="ij"))
        head = ((grid**2).sum(0) < 0.8) * np.random.default_rng(0).random((options.side,) * 3)
        write_volume(at / "in" / "00000.nii.gz", head.astype(np.float32), np.eye(4))
        full, stub = (ensemble(options, device, networks) for networks in (True, False))

        def run(models: Ensemble) -> None:
            paths = [at / "in" / "00000.nii.gz"]
            save_2d(paths, {axis: at / f"2d_axis_{axis}" for axis in range(3)}, 4000, packed=True)
            predict_folder(paths, at / "out", models, device, "pixel")

        found = measure_in_turns(
            {"all": lambda: run(full), "without networks": lambda: run(stub)}, options.repeats, device
        )
    share = found["without networks"].median / found["all"].median
    print(f"{100 * share:.1f} % of the time is not the networks (wanted: at most 10 %)")
    if options.output:
        record = {
            "share_not_networks": share,
            "seconds": {name: timing.record() for name, timing in found.items()},
            "settings": {"side": options.side, "width": options.width, "resolution": 128, "layer": "r32"},
            "hardware": runs.hardware(device),
            "versions": runs.versions(),
        }
        files.write_json(options.output, record)


def ensemble(options: argparse.Namespace, device: torch.device, networks: bool) -> Ensemble:
    widths = {"type": "residual9", "kwargs": {"inner_dims": [options.width] * 7}}
    common = {"latent_res": 1, "latent_dim": options.width, "image_dim": 1}
    config = {"max_image_res": 128, "enc": widths, "dec": widths, **common}
    layer = {"img_weight": 0, "feature_weights": {"r32": 1}} if networks else {"img_weight": 1, "feature_weights": {}}
    loss = PerceptualLoss(
        {128: layer}, "pixelwise", use_L1_norm=True, use_relative_error=True, normalize_to_vgg_input=False, mode_3d=True
    )
    parts = []
    for axis in range(3):
        encoders, decoders = build_families(config)
        nets = [f.net("stab", 128).eval() if networks else nn.Identity() for f in (encoders, decoders)]
        model = Model(*nets, loss, 128, config).to(device)
        parts.append(AxisModel(model, axis, SliceSelection(True, 128, 100)))
    return Ensemble(tuple(parts), 128, delete_zero_area=False)


if __name__ == "__main__":
    main()

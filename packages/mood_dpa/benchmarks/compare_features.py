"""Do trained features help? VGG19 before and after SimCLR, random VGG19, plain L1, and detectors without a network.

    python benchmarks/compare_features.py --seeds 0 1 2 --output results/embedded_subjects.json

Everything but the loss is the same: subjects, anomalies, networks, steps. The seed decides the autoencoder's initial
weights and the order of the slices. `start` is the very VGG19 from which the `simclr` run of the same seed begins;
`random` is a draw of its own for each seed, the first one the fallback of an empty `path_to_vgg19_weights`. Scores are
averaged over the models of three axes, as predict_3d does.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mood_dpa.checkpoints import load_model
from mood_dpa.config_files import Config, read_config
from mood_dpa.data.subjects import DemoSet, ensure_subjects
from mood_dpa.data.volumes import list_volumes, read_volume
from mood_dpa.predict import AxisModel, Ensemble
from mood_dpa.ranking import Ranking, rank_metrics
from mood_dpa.scores import SliceSelection, axis_map, combine
from mood_dpa.settings import TrainSettings
from mood_dpa.simclr import SimCLR
from mood_dpa.simclr_settings import SimclrSettings, simclr_config
from mood_dpa.simclr_train import train_simclr
from mood_dpa.state import MODEL
from mood_dpa.train import train
from mood_dpa.vgg_weights import RANDOM_SEED, random_weights
from ood_shared import checkpoints, files, runs
from ood_shared.devices import seed_everything
from ood_shared.training import Compute
from plain_detectors import plain_detectors

CONFIGS = Path(__file__).parents[1] / "configs" / "embedded"
SUBJECTS = DemoSet(count=28, test=8, side=64, seed=0)
LOSSES = ("start", "simclr", "random", "l1")
ORDER = (("start", "simclr"), ("random",), ("l1",))  # what is compared directly comes first
SIDE, WIDTH = 32, 16
SMALL_AREA = 100.0  # of volumes of 64 voxels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200, help="of each autoencoder")
    parser.add_argument("--simclr-steps", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("output/compare_features"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    device = torch.device(options.device)
    data = options.work / "subjects"
    ensure_subjects(data, SUBJECTS)
    plain = plain_detectors(data)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in LOSSES}
    for name, seed in [(name, seed) for part in ORDER for seed in options.seeds for name in part]:
        weights = vgg_file(name, options.work / f"{name}_{seed}", data, seed, options.simclr_steps, device)
        ensemble = train_axes(options.work / f"{name}_{seed}", data, name, weights, seed, options.steps, device)
        found[name].append({"seed": seed, **measure(data, ensemble, device)})
        print(name, found[name][-1], flush=True)
        record = {
            "what": "pixel AP, pixel AUROC and sample AUROC on the embedded subjects with synthetic anomalies",
            "subjects": vars(SUBJECTS),
            "steps": options.steps,
            "simclr_steps": options.simclr_steps,
            "slice_size": SIDE,
            "rows": {name: rows for name, rows in found.items() if rows},
            "plain": plain,
            "hardware": runs.hardware(device),
            "versions": runs.versions(),
        }
        files.write_json(options.output, record)


def vgg_file(
    name: str, folder: Path, data: Path, seed: int, steps: int, device: torch.device, side: int = SIDE
) -> Path | None:
    """The VGG19 weights of a row, written when they are not there; None for the row without VGG19."""
    if name == "l1":
        return None
    if name == "simclr":
        return pretrain(folder, data, seed, steps, device, side)
    path = folder / "vgg19.pth"
    if name == "random":
        checkpoints.save(path, random_weights(RANDOM_SEED + seed))
    else:
        seed_everything(seed)  # as `train_simclr` does before it builds the network
        checkpoints.save(path, SimCLR().features.state_dict())
    return path


def pretrain(folder: Path, data: Path, seed: int, steps: int, device: torch.device, side: int = SIDE) -> Path:
    """SimCLR on the slices of all axes; the number of slices is cut so that an epoch has so many steps."""
    config = simclr_config(read_config(CONFIGS / "simclr.yaml"))
    config |= {"epochs": 1, "epoch_warmup": 1}
    config["dataset"]["dataset_params"]["input_shape"] = f"({side},{side},3)"
    for part, share in (("train", steps * config["batch_size"] // 3 + 1), ("val", config["batch_size"])):
        for axis, entry in enumerate(config["dataset"]["dataset_params"][part]):
            entry |= {
                "image_root": str(data / f"2d_axis_{axis}"),
                "folds_path": str(data / "folds.csv"),
                "max_dataset_size": share,
            }
    path = folder / "checkpoints" / "model.pth"
    if not path.is_file():
        train_simclr(SimclrSettings.of(config), folder, Compute(device), seed)
    return path


def train_axes(
    folder: Path,
    data: Path,
    name: str,
    weights: Path | None,
    seed: int,
    steps: int,
    device: torch.device,
    small_area: float = SMALL_AREA,
    side: int = SIDE,
) -> Ensemble:
    """One autoencoder per axis with the given loss, of slices of `side` pixels.

    Slices of the volume with a sum of intensities above `small_area` are scored.
    """
    parts = []
    for axis in range(3):
        config = axis_config(axis, data, folder / f"axis_{axis}", seed, steps, side)
        kwargs = config["image_rec_loss"]["loss_kwargs"]
        if name == "l1":
            config["image_rec_loss"] = {"loss_type": "l1", "loss_kwargs": {}}
        else:
            kwargs["path_to_vgg19_weights"] = str(weights)
        path = Path(config["checkpoint_root"]) / MODEL
        train(TrainSettings.of(config), Compute(device, resume=True))  # goes on; of a finished one nothing is left
        model = load_model(path, volumes=True).to(device)
        model.loss.reduction = "pixelwise"
        parts.append(AxisModel(model, axis, SliceSelection(True, side, small_area)))
    return Ensemble(tuple(parts), None, delete_zero_area=True)


def axis_config(axis: int, data: Path, folder: Path, seed: int, steps: int, side: int = SIDE) -> Config:
    config = read_config(CONFIGS / f"axis_{axis}" / "train_config.yaml")
    config |= {
        "random_seed": 100 * seed + axis,
        "checkpoint_root": str(folder),
        "log_root": str(folder / "logs"),
        "max_image_res": side,
        "initial_image_res": side,
        "iters_per_res": {side: {"stab": steps}},
        "image_sample_iter": steps,
        "val_iter": steps // 2,
    }
    for part in ("train", "val"):
        config[f"{part}_dataset"]["dataset_kwargs"] |= {
            "image_root": str(data / f"2d_axis_{axis}"),
            "folds_path": str(data / "folds.csv"),
        }
        config[f"{part}_dataset"]["transform_kwargs"]["resize"] = side
    for net in ("enc", "dec"):
        config[net]["kwargs"]["inner_dims"] = [WIDTH] * (side.bit_length() - 2)  # one block per halving down to 4
    weights = config["image_rec_loss"]["loss_kwargs"]["weights_per_resolution"]
    weights[side], config["batch_sizes"][side] = weights[SIDE], config["batch_sizes"][SIDE]
    return config


def measure(data: Path, ensemble: Ensemble, device: torch.device) -> dict[str, float]:
    pixels, labels, scores = Ranking(), [], []
    single = [Ranking() for _ in ensemble.models]
    for path in list_volumes(data / "test_images"):
        volume, mask = read_volume(path).data, read_volume(data / "test_masks" / path.name).data > 0.5
        image = torch.from_numpy(volume).to(device)
        maps = [
            axis_map(image, p.model, p.axis, p.selection, tuple(image.shape)) * (image > 0) for p in ensemble.models
        ]
        for ranking, part in zip(single, maps, strict=True):
            ranking.add(mask, part.cpu())
        found = combine(maps)
        pixels.add(mask, found.cpu())
        labels.append(bool(mask.any()))
        scores.append(float(found.max()))
    of_pixels, of_samples = pixels.metrics(), rank_metrics(labels, scores)
    return {
        "pixel_ap": of_pixels.ap,
        "pixel_auroc": of_pixels.auroc,
        "sample_auroc": of_samples.auroc,
        "sample_ap": of_samples.ap,
        "pixel_ap_single_axes": float(np.mean([ranking.metrics().ap for ranking in single])),
    }


if __name__ == "__main__":
    main()

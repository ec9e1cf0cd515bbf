"""The cross-validation grid of the challenge solution, expanded from its two templates."""

import zlib
from itertools import product
from pathlib import Path
from typing import Any

from mood_dpa.config_files import Config, config_text, merge, read_config
from mood_dpa.standalone import InputError, write_text

RESOLUTION, BATCH, WORKERS = 128, 64, 16
LATENT_DIMS, LAYERS = (64, 128), ("r32", "r42")
LEARNING_RATES = {64: 2e-4, 128: 1e-4}
SEEDS = {  # recorded in the published configs, by (latent dim, layer), for axes 0, 1, 2 of fold 0
    (128, "r32"): (5317, 4765, 7667),
    (128, "r42"): (9289, 9303, 7222),
    (64, "r32"): (9775, 3251, 1065),
    (64, "r42"): (2349, 5455, 2712),
}


def point_name(latent_dim: int, layer: str) -> str:
    """Name of a grid point's folder."""
    return f"res_{RESOLUTION}_lr_1_ld_{latent_dim}_pf_{layer}"


def seed_of(latent_dim: int, layer: str, axis: int, fold: int) -> int:
    """The recorded seed, elsewhere one made of the point's name."""
    if fold == 0 and (latent_dim, layer) in SEEDS:
        return SEEDS[latent_dim, layer][axis]
    return zlib.crc32(f"{point_name(latent_dim, layer)}/{axis}/{fold}".encode()) % 10_000


def train_point(template: Config, axis: int, latent_dim: int, layer: str, fold: int) -> Config:
    """The training configuration of a grid point."""
    widths = {"kwargs": {"inner_dims": [latent_dim] * 7}}
    data = {"dataset_kwargs": {"cache": False, "fold": fold}, "transform_kwargs": {"resize": RESOLUTION}}
    config: Config = merge(
        template,
        {
            "adam_kwargs": {"lr": LEARNING_RATES[latent_dim]},
            "batch_sizes": {RESOLUTION: BATCH},
            "checkpoint_root": None,
            "log_root": None,
            "max_image_res": RESOLUTION,
            "initial_image_res": RESOLUTION,
            "latent_res": 1,
            "latent_dim": latent_dim,
            "num_workers": WORKERS,
            "random_seed": seed_of(latent_dim, layer, axis, fold),
            "enc": widths,
            "dec": widths,
            "train_dataset": data,
            "val_dataset": data,
            "image_rec_loss": {"loss_kwargs": {"weights_per_resolution": _weights(layer)}},
        },
    )
    return config


def inference_point(template: Config, layer: str, fold: int) -> Config:
    """The inference configuration of a grid point."""
    config: Config = merge(
        template,
        {
            "results_root": None,
            "test_model_path": None,
            "test_dataset": {"dataset_kwargs": {"fold": fold}, "transform_kwargs": {"resize": RESOLUTION}},
            "test_image_rec_loss": {"loss_kwargs": {"weights_per_resolution": _weights(layer)}},
        },
    )
    return config


def expand(meta_train: Path, meta_inference: Path, out: Path, axis: int, folds: tuple[int, ...] = (0,)) -> list[Path]:
    """Write the grid of an axis to `out/<point>/<fold>/{train_config,inference_3d_config}.yaml`.

    Raises:
        InputError: one of them is there with other content; nothing is written then.
    """
    train, inference = read_config(meta_train), read_config(meta_inference)
    points: dict[Path, str] = {}
    for latent_dim, layer, fold in product(LATENT_DIMS, LAYERS, folds):
        folder = out / point_name(latent_dim, layer) / str(fold)
        pairs = (
            ("train_config.yaml", train_point(train, axis, latent_dim, layer, fold)),
            ("inference_3d_config.yaml", inference_point(inference, layer, fold)),
        )
        for name, config in pairs:
            points[folder / name] = config_text(config)
    for path, text in points.items():
        if path.exists() and path.read_bytes() != text.encode():
            raise InputError(f"{path} is there and says something else; it is not replaced. Take another folder.")
    for path, text in points.items():
        write_text(path, text)
    return list(points)


def _weights(layer: str) -> dict[int, Any]:
    return {RESOLUTION: {"img_weight": 0, "feature_weights": {layer: 1}}}

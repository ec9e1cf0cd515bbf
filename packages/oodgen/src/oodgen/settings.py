"""What decides the weights of the two trainings, and what a test is asked for; typed and frozen, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VaeSettings:
    """What decides the weights of the VAE."""

    n_classes: int
    latent_dim: int = 8
    architecture: str = "doc"  # or "paper"
    epochs: int = 100
    batch_size: int = 128
    opt: str = "rmsprop"
    lr: float = 0.001
    momentum: float = 0.0
    weight_decay: float | None = None  # None: 0, and 0.001 with `ada`
    loss: str = "elbo"
    mean: float = 0.0  # of the normalisation, used by the loss `mse` only
    std: float = 1.0
    save_every: int = 1
    patience: int = 0  # epochs without a better validation loss before the run ends, and the best is kept; 0: never
    seed: int = 0


@dataclass(frozen=True)
class ClassifierSettings:
    """What decides the weights of the classifier."""

    n_classes: int
    architecture: str = "doc"
    epochs: int = 200
    batch_size: int = 256
    opt: str = "ada"
    lr: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0001
    id_recon: bool = False  # whether reconstructions are among the in-distribution images; on record only
    ood_weight: float = 1.0
    double_softmax: bool = False
    views: str = "none"  # of training images and outliers: as they are, or in a comparison `crop` or `crop_mirror`
    mean: float = 0.0
    std: float = 1.0
    save_every: int = 1
    seed: int = 0


@dataclass(frozen=True)
class TestSettings:
    """What step 4 does.

    Attributes:
        in_data: folder of the in-distribution images.
        out_data: names and paths of the OOD sets; the shared registry or folders.
        native: size that images of other sizes are reduced to first; None refuses them.
        classes: in-distribution classes, `all` or `A-B`.
        model_path: folder of the classifier.
        root: folder for the results.
        epoch: of the model; None for the last.
        all_epochs: test every saved epoch up to it.
        scores: what is called the confidence; the first is printed and logged.
        average: `pooled` or `batches`.
        normalize: word of `--normalize`; None takes that of the training.
        foreign: whether real outliers are normalised by their own names, as the published code does.
        data_dir: where named sets are kept.
        record: the flags, for the result.
    """

    in_data: str
    out_data: tuple[str, ...]
    native: tuple[int, int] | None
    classes: str
    model_path: str
    root: Path
    epoch: int | None
    all_epochs: bool
    scores: tuple[str, ...]
    average: str
    normalize: str | None
    foreign: bool
    data_dir: str | None
    record: Mapping[str, Any]

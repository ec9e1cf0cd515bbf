"""What decides the weights of a run, beside its data. Without torch: `--help` and mistyped flags are answered fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError, unknown

from know_your_space.data.options import DataOptions

SPACES = ("latent", "pixel", "none")
SCHEDULES = ("steps", "plateau")
CANVASES = ("original", "image")
AUGMENTATIONS = ("affine", "crop", "crop_mirror")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the training command; the defaults are the paper's protocol."""

    n_classes: int
    model_type: str = "wrn"
    layers: int = 40
    widen_factor: int = 2
    droprate: float = 0.3
    temperature: float = 1.0
    m_in: float = -20.0
    m_out: float = -7.0
    beta1: float = 0.1
    inlier_space: str = "latent"
    outlier_space: str = "pixel"
    operators: tuple[str, ...] = ("augmix_jigsaw",)  # of the pixel outliers
    augmentation: str = "affine"  # of the ID images; the others are those of a comparison (ood_shared.common_views)
    augmix_severity: int = 11
    augmix_canvas: str = "original"
    outlier_contrast: float = 1.0  # largest factor by which the contrast of pixel outliers changes
    rand_conv: bool = True
    rand_conv_sizes: tuple[int, ...] = (9, 11, 13, 15, 17, 19)
    start_epoch: int = 2
    sample_number: int = 250
    select: int = 64
    sample_from: int = 10_000
    separate_bn: bool = False
    batch_size: int = 128
    epochs: int = 100
    lr: float = 1e-3
    lr_schedule: str = "steps"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what could only fail, or train nothing, later.

        Raises:
            InputError: names the flag.
        """
        for flag, value, known in (
            ("--inlier_space", self.inlier_space, SPACES),
            ("--outlier_space", self.outlier_space, SPACES),
            ("--lr_schedule", self.lr_schedule, SCHEDULES),
            ("--augmix_canvas", self.augmix_canvas, CANVASES),
            ("augmentation", self.augmentation, AUGMENTATIONS),
        ):
            if value not in known:
                raise unknown(flag, value, known)
        if self.select > self.sample_from:
            raise InputError(
                f"--select {self.select} is more than --sample_from {self.sample_from}, the draws it selects from. "
                "Lower --select or raise --sample_from."
            )
        if self.sample_number < 2:
            raise InputError(f"--sample_number {self.sample_number} is too small for a covariance; expected 2 or more.")
        if not self.rand_conv_sizes or any(size % 2 == 0 for size in self.rand_conv_sizes):
            raise InputError(
                f"--rand_conv_kernel_size takes one or more positive odd numbers, got {list(self.rand_conv_sizes)}."
            )
        if not 1 <= self.outlier_contrast < float("inf"):
            raise InputError(
                f"--outlier_contrast {self.outlier_contrast:g} is no largest factor of contrast; expected 1 (as it is) "
                "or more."
            )
        if not self.m_in < self.m_out:
            raise InputError(
                f"--m_in {self.m_in:g} is not below --m_out {self.m_out:g}; energies of inliers are to lie below the "
                "one, those of outliers above the other."
            )
        if not self.temperature > 0:
            raise InputError(f"--T {self.temperature} is not a temperature; expected a number above 0.")
        if self.outlier_space == "pixel" and not self.operators:
            raise _no_operator()

    @property
    def latent(self) -> bool:
        """Whether inliers or outliers come from the class Gaussians, which wait for full queues."""
        return "latent" in (self.inlier_space, self.outlier_space)


@dataclass(frozen=True)
class DetectSettings:
    """What the detection scores, with which network.

    Attributes:
        root: folder of `ckpts` and `logs`.
        model_type: backbone.
        in_dataset: ID set.
        out_test_dataset: words of the OOD sets; None for the default ones.
        run: name of the training run.
        m_in: margin of the inliers, in the checkpoint's name.
        m_out: margin of the outliers, in the checkpoint's name.
        temperature: of the score, and in the checkpoint's name.
        layers: depth of the network.
        widen_factor: its width.
        droprate: its dropout, which scoring does not use.
        last: whether the last epoch is scored, not the best one.
        id_part: `val` or `test`.
        all_classes: whether all classes of other sets are scored, not only their known ones.
        batch_size: images per pass; None for the device's.
        seed: of the intervals.
        where: sets lie, and how they are split.
        record: the flags, for the result.
    """

    root: Path
    model_type: str
    in_dataset: str
    out_test_dataset: str | None
    run: str
    m_in: float
    m_out: float
    temperature: float
    layers: int
    widen_factor: int
    droprate: float
    last: bool
    id_part: str
    all_classes: bool
    batch_size: int | None
    seed: int
    where: DataOptions
    record: Mapping[str, Any]


def chosen_operators(augmix: bool, jigsaw: bool) -> tuple[str, ...]:
    """The operators that the flags `--augmix` (which implies the shuffle) and `--jigsaw` choose.

    Raises:
        InputError: neither. The original then trains with clean training images as outliers, which contradicts its own
            cross-entropy.
    """
    chosen = ("augmix_jigsaw",) * augmix + ("jigsaw",) * jigsaw
    if not chosen:
        raise _no_operator()
    return chosen


def _no_operator() -> InputError:
    return InputError(
        "No outlier operator is chosen, which would make outliers of clean training images. Pass --augmix "
        "(the paper), --jigsaw, or both; or --outlier_space latent or none."
    )

"""The metrics of `--ood_metric`: what each needs, whether it is a loss, a test score or both. Without torch.

| name | `extra_outputs` | loss | score |
|---|---|---|---|
| `oe`, `energy`, `maha` | 0 | plain | `msp`, `energy`, `maha` |
| `bin_disc`, `bkg_c` | 1 | plain | itself |
| `mc_disc` | 2 | plain | itself |
| `ada_oe`, `ada_energy`, `ada_bin_disc`, `ada_maha` | as plain | balanced (section 4.2) | of the plain one |

Each of the balanced names but `ada_oe` is also a score, balanced after training (section 4.3), for plain networks.
"""

from dataclasses import dataclass

from ood_shared.errors import unknown


@dataclass(frozen=True)
class Metric:
    """One word of `--ood_metric`.

    Attributes:
        name: the word.
        extra_outputs: columns of the classifier beyond the classes.
        loss: whether a network can be trained with it.
        score: the test score by which a network trained with it is tested; a pure score names itself.
        balanced: whether it divides by the class prior.
        pool: whether it needs the pool of training features.
        background: whether the further column is one more class instead of a detector of its own.
        asked: the score that the word means in a test; None where it is the word itself.
    """

    name: str
    extra_outputs: int
    loss: bool
    score: str
    balanced: bool = False
    pool: bool = False
    background: bool = False
    asked: str | None = None

    @property
    def columns(self) -> tuple[int, bool]:
        """What a classifier has beyond the classes: how many columns, and whether they are one more class."""
        return self.extra_outputs, self.background

    @property
    def detector_outputs(self) -> int:
        """Columns that are no class, not even the background."""
        return 0 if self.background else self.extra_outputs


METRICS = {
    metric.name: metric
    for metric in (
        Metric("msp", 0, False, "msp"),
        Metric("bkg_c", 1, True, "bkg_c", background=True),
        Metric("energy", 0, True, "energy"),
        Metric("bin_disc", 1, True, "bin_disc"),
        Metric("mc_disc", 2, True, "mc_disc"),
        Metric("rp_msp", 0, False, "rp_msp"),
        Metric("gradnorm", 0, False, "gradnorm"),
        Metric("rp_gradnorm", 0, False, "rp_gradnorm"),
        Metric("rw_energy", 0, False, "rw_energy"),
        Metric("maha", 0, True, "maha", pool=True),
        Metric("bin_disc_joint", 1, False, "bin_disc_joint"),
        Metric("ada_bin_disc", 1, True, "bin_disc", balanced=True),
        Metric("ada_msp", 0, False, "ada_msp", balanced=True),
        Metric("ada_energy", 0, True, "energy", balanced=True),
        Metric("ada_maha", 0, True, "maha", balanced=True, pool=True),
        Metric("ada_gradnorm", 0, False, "ada_gradnorm", balanced=True),
        Metric("oe", 0, True, "msp", asked="msp"),
        Metric("ada_oe", 0, True, "msp", balanced=True, asked="ada_msp"),
    )
}
LOSSES = tuple(name for name, metric in METRICS.items() if metric.loss)
SCORES = tuple(name for name, metric in METRICS.items() if metric.asked is None)
ALIASES = {name: metric.asked for name, metric in METRICS.items() if metric.asked is not None}


def metric_of(name: str) -> Metric:
    """The metric by its name.

    Raises:
        InputError: it is not known.
    """
    if name not in METRICS:
        raise unknown("--ood_metric", name, METRICS)
    return METRICS[name]


def plain_test_of(trained: str | None) -> str:
    """The plain test score that fits a training metric; `msp` when it is not known."""
    return METRICS[trained].score if trained in LOSSES else "msp"


def bench_test_of(trained: str) -> str:
    """The score of a comparison: as `plain_test_of`, with the class posterior where there is a column for ID."""
    plain = plain_test_of(trained)
    return "bin_disc_joint" if plain == "bin_disc" else plain


def n_outputs_of(metric: str, n_classes: int) -> int:
    """Columns of the classifier for a metric: C, one more for an OOD or background column, two more for `mc_disc`."""
    return n_classes + metric_of(metric).extra_outputs

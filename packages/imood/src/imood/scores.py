"""Test scores, plain, joint, and balanced after training; higher means more OOD.

The balanced form adds s L to the ID score, L = ln mean_c p_c / q_c = ln beta with gamma = 1 (section 4.3). Everything
is computed in float64 from the float32 logits: in float32, 1 - sigmoid(u) and the largest probability tie for
confident inputs. On a CPU that happens in blocks of a fixed number of rows, so that the score of an image does not
depend on the rows beside it, to the last bit.

`bin_disc_joint` is not the paper's. A logit that was trained to tell ID from auxiliary outliers puts an outlier that is
like none of these on the ID side; the class posterior may still be unsure about it. Bitterwolf et al. (*Breaking Down
Out-of-Distribution Detection*, ICML 2022), on whose detector ImOOD builds, therefore score by P(ID | x) max_y P(y | x).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.blocks import blocks
from ood_shared.errors import InputError, unknown
from torch import Tensor

from imood import longtail
from imood.losses import split_outputs
from imood.metrics import ALIASES, SCORES, metric_of, n_outputs_of
from imood.modes import MAHA_SIGNS

METRICS = SCORES
JOINT = ("bin_disc_joint",)
BALANCED = tuple(name for name in METRICS if metric_of(name).balanced)
PLAIN = tuple(name for name in METRICS if name not in BALANCED + JOINT)
SCALES = {"ada_msp": 0.1, "ada_energy": 1.0, "ada_bin_disc": 1.0, "ada_gradnorm": 10.0, "ada_maha": 0.01}
PRIOR_SHARE = 0.01  # of q in rp_msp


def fitting(n_outputs: int, n_classes: int, trained: str | None = None) -> list[str]:
    """The metrics that a classifier with so many outputs can be tested with.

    Args:
        n_outputs: of the classifier.
        n_classes: of the data.
        trained: metric of its loss, where it is known: a further output is then what that made of it.
    """
    found = [name for name in METRICS if n_outputs_of(name, n_classes) == n_outputs]
    return [name for name in found if trained is None or metric_of(name).columns == metric_of(trained).columns]


def choose_metrics(
    words: str, n_outputs: int, n_classes: int, trained: str | None = None, flag: str = "--ood_metric"
) -> tuple[str, ...]:
    """The metrics of `--ood_metric`: one, several with commas, or `all` that fit the checkpoint.

    A classifier with one more column than classes is `bin_disc` or `bkg_c`, as it was trained; `all` takes `bin_disc`
    when that is not known.

    Raises:
        InputError: a metric is not known, needs another number of outputs than the checkpoint has, or takes an output
            for what it was not trained to be.
    """
    fits = fitting(n_outputs, n_classes, trained)
    if words == "all":
        if not fits:
            raise InputError(f"The checkpoint has {n_outputs} outputs for {n_classes} classes; no metric fits.")
        return tuple(name for name in fits if trained is not None or name != "bkg_c")
    chosen = tuple(ALIASES.get(word, word) for word in words.split(",") if word)
    for name in chosen:
        if name not in METRICS:
            raise InputError(f"{flag} `{name}` is not known. Known: all, {', '.join([*METRICS, *ALIASES])}.")
        if name not in fits:
            needed, fit = n_outputs_of(name, n_classes), ", ".join(fits) or "no metric of this number of classes"
            raise InputError(
                f"{flag} {name}: the checkpoint was trained with {trained}, its outputs are others. It fits {fit}."
                if needed == n_outputs
                else f"{flag} {name} needs {needed} outputs, the checkpoint has {n_outputs}. It fits {fit}."
            )
    if not chosen:
        raise InputError(f"{flag} names no metric.")
    return chosen


@dataclass(frozen=True)
class Outputs:
    """What one forward pass gave for a set, from which every metric follows.

    Attributes:
        logits: (n, outputs).
        features: (n, dim).
        distances: (n,) Mahalanobis values; needed by `maha` and `ada_maha` only.
    """

    logits: Tensor
    features: Tensor
    distances: Tensor | None = None

    def scores(
        self,
        metric: str,
        log_prior: Float[Tensor, "1 columns"],
        maha_sign: str = "fixed",
        trained: Float[Tensor, "1 columns"] | None = None,
    ) -> Float[Tensor, " n"]:
        """Scores of one metric, float64.

        Args:
            metric: one of `METRICS`.
            log_prior: ln q of the training classes, see `longtail.log_prior`; 1 x C.
            maha_sign: `legacy` gives the inverted sign of the published code, for pools that it filled.
            trained: see `log_beta`; only the balanced metrics depend on it.

        Raises:
            InputError: unknown metric or sign, or a Mahalanobis metric without distances.
        """
        if metric not in METRICS:
            raise unknown("--ood_metric", metric, METRICS)
        if maha_sign not in MAHA_SIGNS:
            raise unknown("--maha_sign", maha_sign, MAHA_SIGNS)
        if metric_of(metric).pool and self.distances is None:
            raise InputError(f"--ood_metric {metric} needs a pool of training features.")
        parts = [part._scores(metric, log_prior, maha_sign, trained)[:n] for part, n in self._blocks()]
        return torch.cat(parts) if parts else self.logits.new_zeros(0, dtype=torch.float64)

    def _blocks(self) -> "Iterator[tuple[Outputs, int]]":
        rows = torch.arange(len(self.logits), device=self.logits.device)
        for block, n in blocks(rows, max(1, len(rows)), rows.device):
            yield self._of(block), n

    def _of(self, rows: Tensor) -> "Outputs":
        return Outputs(self.logits[rows], self.features[rows], None if self.distances is None else self.distances[rows])

    def _scores(self, metric: str, log_prior: Tensor, maha_sign: str, trained: Tensor | None) -> Float[Tensor, " n"]:
        """The scores of a block."""
        if self.distances is not None and metric_of(metric).pool:
            distances = self.distances.double()
            bias = SCALES["ada_maha"] * self.log_beta(metric, log_prior, trained) if metric == "ada_maha" else 0
            return distances - bias if maha_sign == "fixed" else -(distances + bias)
        if metric in SCALES:
            confidence = {
                "ada_msp": lambda: self._probabilities(metric).amax(1) - 1 / self._z(metric).shape[1],
                "ada_energy": lambda: self._z(metric).logsumexp(1),
                "ada_bin_disc": lambda: self._u(metric).squeeze(1),
                "ada_gradnorm": lambda: self.gradient_norm(),
            }[metric]()
            return -(confidence + SCALES[metric] * self.log_beta(metric, log_prior, trained))
        if metric == "msp":
            return -self._probabilities(metric).amax(1)
        if metric == "energy":
            return -self._z(metric).logsumexp(1)
        if metric in ("bkg_c", "mc_disc"):
            return torch.softmax(self._u(metric), dim=1)[:, -1]
        if metric == "bin_disc":
            return torch.sigmoid(-self._u(metric)).squeeze(1)
        if metric == "bin_disc_joint":
            return -(F.logsigmoid(self._u(metric)).squeeze(1) + torch.log_softmax(self._z(metric), dim=1).amax(1))
        prior = log_prior.to(self._wide).exp()
        if metric == "rp_msp":
            return -(self._probabilities(metric) - PRIOR_SHARE * prior).amax(1)
        if metric == "rw_energy":
            likeness = F.cosine_similarity(self._probabilities(metric), prior, dim=1)
            return -self._z(metric).logsumexp(1) * (1 - likeness)
        # rp_gradnorm: the published target is the softmax of the prior, which is nearly uniform
        return -self.gradient_norm(torch.softmax(prior, dim=1)) if metric == "rp_gradnorm" else -self.gradient_norm()

    def gradient_norm(self, target: Float[Tensor, "1 classes"] | None = None) -> Float[Tensor, " n"]:
        """L1 norm of the gradient of KL(t || p) by the classifier's weights, one row at a time: |p - t|_1 |f|_1.

        The gradient is the outer product of p - t and f. Huang et al., NeurIPS 2021, section 3. Without a target, t is
        uniform.
        """
        shares = self._probabilities("gradnorm")
        t = 1 / shares.shape[1] if target is None else target
        return (shares - t).abs().sum(1) * self.features.abs().sum(1)

    def log_beta(
        self,
        metric: str,
        log_prior: Float[Tensor, "1 columns"],
        trained: Float[Tensor, "1 columns"] | None = None,
    ) -> Float[Tensor, " n"]:
        """L = ln mean_c (p_c / q_c).

        Eq. 3 of the paper takes for p the class posterior of the long-tailed data. A network that was trained with the
        adjusted logits z + a has it as softmax(z + a): softmax(z) is balanced already, and dividing that by the prior,
        as the published code does, corrects twice.

        Args:
            metric: decides which columns are those of the classes.
            log_prior: ln q.
            trained: the adjustments a of the training (`longtail.adjustments`); None takes softmax(z), as published.
        """
        z = self._z(metric)
        log_shares = torch.log_softmax(z if trained is None else z + trained.to(z), dim=1)
        return torch.logsumexp(log_shares - log_prior.to(log_shares), dim=1) - math.log(log_shares.shape[1])

    def predictions(self, metric: str) -> Int64[Tensor, " n"]:
        """The most probable class; for `bkg_c` it may be the background, column C."""
        return split_outputs(metric, self.logits)[0].argmax(1)

    @cached_property
    def _wide(self) -> Tensor:
        return self.logits.double()

    def _z(self, metric: str) -> Tensor:
        return split_outputs(metric, self._wide)[0]

    def _u(self, metric: str) -> Tensor:
        return split_outputs(metric, self._wide)[1]

    def _probabilities(self, metric: str) -> Tensor:
        return torch.softmax(self._z(metric), dim=1)


@dataclass(frozen=True)
class Rule:
    """One score with the prior that it uses: what the test command, the bench and a detector call alike.

    Attributes:
        metric: one of `METRICS`.
        counts: training images of each class.
        tau: exponent of the prior.
        maha_sign: `fixed` or `legacy`.
        trained_tau: what is added to the logits, times ln pi, before the balanced metrics divide by the prior.
    """

    metric: str
    counts: tuple[int, ...]
    tau: float = 1.0
    maha_sign: str = "fixed"
    trained_tau: float = 0.0

    def __call__(self, outputs: Outputs) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
        """Scores, float64, and predicted classes of a set; on the CPU."""
        device = outputs.logits.device
        log_prior = longtail.log_prior(longtail.adjustments(self.counts, self.tau)).to(device)
        trained = longtail.adjustments(self.counts, self.trained_tau).to(device) if self.trained_tau else None
        scores = outputs.scores(self.metric, log_prior, self.maha_sign, trained)
        return scores.cpu(), outputs.predictions(self.metric).cpu()

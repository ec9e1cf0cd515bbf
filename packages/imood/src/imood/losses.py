"""Training losses: classification with logit adjustment, eight detection losses and their balanced `ada_` forms.

Rows are 2N ID rows (view 1 of all, then view 2 of all), then M outliers. The balanced form (section 4.2) trains a logit
g so that sigmoid(g) is P_bal(ID | x), while the likelihood is that of the imbalanced data, sigmoid(g) / beta:

    beta  = mean_c gamma_c P_c / q_c,   gamma = max(exp(W f + b), 1e-4),   q = softmax(a)
    delta = beta + (beta - 1) e^g,      sigmoid(g) / beta = sigmoid(g - ln delta)
    loss  = mean relu(ln beta + ln sigmoid(g)) + BCE(g - ln delta)

The first term reaches gamma only, the second one g only. Everything is computed in float32 or wider.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.errors import InputError, unknown
from torch import Tensor

from imood.contrastive import pascl, simclr
from imood.heads import Heads
from imood.longtail import log_prior
from imood.metrics import LOSSES, metric_of
from imood.pool import FeaturePool

METRICS = LOSSES
AUXILIARY = ("none", "pascl", "simclr")
GAMMA_MIN = 1e-4
DELTA_RANGE = (0.1, 10.0)
MAX_EXPONENT = 30.0  # of e^g: delta has long reached its limit there, and 0 * inf is avoided at beta = 1
SMOOTHING = 0.2  # of the labels that stand for P on ID rows
MARGIN_OOD = -5.0


class Losses(NamedTuple):
    """The three parts of the total, in + Lambda ood + Lambda2 aux."""

    id_loss: Tensor
    ood_loss: Tensor
    aux_loss: Tensor


@dataclass(frozen=True)
class Objective:
    """Which losses, with which constants.

    Attributes:
        metric: one of `METRICS`.
        aux: one of `AUXILIARY`.
        n_classes: C.
        k: share of the classes that count as tail, in (0, 1].
        temperature: of `pascl`, positive.
    """

    metric: str
    n_classes: int
    aux: str = "none"
    k: float = 0.4
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise unknown("--ood_metric", self.metric, METRICS)
        if self.aux not in AUXILIARY:
            raise unknown("--aux_ood_loss", self.aux, AUXILIARY)
        if not 0 < self.k <= 1:
            raise InputError(f"--k is {self.k}; expected a share above 0 and at most 1.")
        if not self.temperature > 0:
            raise InputError(f"--T is {self.temperature}; expected a number above 0.")


def split_outputs(metric: str, logits: Float[Tensor, "n outputs"]) -> tuple[Tensor, Tensor]:
    """Columns for the classification and columns for the detection; the same ones where a metric has no extra column.

    `bkg_c` keeps its background column in both, so that a prediction may be "background", which counts as wrong.
    """
    extra = metric_of(metric).detector_outputs
    return (logits[:, :-extra], logits[:, -extra:]) if extra else (logits, logits)


def training_losses(
    objective: Objective,
    logits: Float[Tensor, "rows outputs"],
    features: Float[Tensor, "rows dim"],
    labels: Int64[Tensor, " n"],
    adjustment: Float[Tensor, "1 columns"],
    heads: Heads,
    pool: FeaturePool | None = None,
) -> Losses:
    """The three losses of a step, in nats.

    Args:
        objective: which losses.
        logits: of all rows; the width fits the metric.
        features: of all rows.
        labels: of the N images, not repeated.
        adjustment: a, see `longtail.adjustments`.
        heads: the network, or its heads alone.
        pool: needed by `maha` and `ada_maha`.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits, features = _wide(logits), _wide(features)
        z, u = split_outputs(objective.metric, logits)
        n_id = 2 * len(labels)
        adjustment = adjustment.to(z)
        id_loss = F.cross_entropy(z[:n_id] + adjustment, labels.repeat(2))
        if metric_of(objective.metric).balanced:
            logit = balanced_logit(objective.metric, u, features, heads, pool)
            rows = balanced_rows(logit, z, features, labels, adjustment, heads)
            ood_loss = rows.regulariser.mean() + rows.likelihood.mean()
            if objective.metric == "ada_oe":
                ood_loss = ood_loss + outlier_exposure(u[n_id:])
        else:
            ood_loss = plain_loss(objective, u, features, n_id, heads, pool)
        return Losses(id_loss, ood_loss, _auxiliary(objective, features, labels, heads))


def outlier_exposure(logits: Float[Tensor, "m classes"]) -> Float[Tensor, ""]:
    """Cross-entropy of outliers to the uniform distribution, up to a constant (Hendrycks et al., ICLR 2019)."""
    return (torch.logsumexp(logits, dim=1) - logits.mean(dim=1)).mean()


def plain_loss(
    objective: Objective, u: Tensor, features: Tensor, n_id: int, heads: Heads, pool: FeaturePool | None
) -> Float[Tensor, ""]:
    """The detection loss of a metric without `ada_`.

    `bkg_c`, `mc_disc` and `maha` could not be computed by the published code; see the package's README.
    """
    metric, device = objective.metric, u.device
    if metric == "oe":
        return outlier_exposure(u[n_id:])
    if metric == "energy":  # Liu et al., NeurIPS 2020, eq. 9, with the published margins
        energy = -torch.logsumexp(u, dim=1)
        margin = -23.0 if objective.n_classes == 10 else -27.0
        inside = F.relu(energy[:n_id] - margin).square().mean()
        return 0.2 * (inside + F.relu(MARGIN_OOD - energy[n_id:]).square().mean())
    if metric == "bkg_c":
        background = torch.full((len(u) - n_id,), objective.n_classes, device=device)
        return F.cross_entropy(u[n_id:], background)
    is_id = _is_id(len(u), n_id, u)
    if metric == "mc_disc":
        return F.cross_entropy(u, 1 - is_id.long())
    if metric == "bin_disc":
        return F.binary_cross_entropy_with_logits(u.squeeze(1), is_id)
    logit = balanced_logit("ada_maha", u, features, heads, pool)  # maha
    return F.binary_cross_entropy_with_logits(logit, is_id)


def balanced_logit(
    metric: str, u: Tensor, features: Tensor, heads: Heads, pool: FeaturePool | None
) -> Float[Tensor, " rows"]:
    """g, the ID logit of each row: the OOD column itself, or an affine map of the metric's score."""
    if metric == "ada_bin_disc":
        return u.squeeze(1)
    if metric == "ada_oe":
        value = torch.softmax(u, dim=1).amax(dim=1) - 1 / u.shape[1]
    elif metric == "ada_energy":
        value = torch.logsumexp(u, dim=1)
    else:
        if pool is None:
            raise ValueError("the Mahalanobis losses need the feature pool")
        value = pool.training_distances(features).squeeze(1)
    return heads.aux_linear(value.unsqueeze(1)).squeeze(1)


class BalancedRows(NamedTuple):
    """What the balanced loss is made of, one value per row."""

    log_beta: Tensor
    delta: Tensor
    regulariser: Tensor
    likelihood: Tensor


def balanced_rows(
    logit: Float[Tensor, " rows"],
    z: Float[Tensor, "rows classes"],
    features: Float[Tensor, "rows dim"],
    labels: Int64[Tensor, " n"],
    adjustment: Float[Tensor, "1 classes"],
    heads: Heads,
) -> BalancedRows:
    """The terms of the balanced loss; see the head of this module.

    ln beta is one logsumexp over the classes. delta is kept in [0.1, 10], and at least 1 on ID rows, at most 1 on OOD
    rows.
    """
    n, n_classes = len(labels), z.shape[1]
    with torch.no_grad():
        log_share = torch.log_softmax(z, dim=1)
        low = math.log(SMOOTHING / n_classes)
        log_share[: 2 * n].fill_(low)
        high = math.log(1 - SMOOTHING + SMOOTHING / n_classes)
        log_share.scatter_(1, labels.repeat(2).unsqueeze(1), high)
        log_share -= log_prior(adjustment)
    log_gamma = heads.lambda_linear(features).clamp(min=math.log(GAMMA_MIN))
    log_beta = torch.logsumexp(log_gamma + log_share, dim=1) - math.log(n_classes)

    fixed = logit.detach()
    is_id = _is_id(len(z), 2 * n, logit)
    with torch.no_grad():
        beta = log_beta.exp()
        delta = (beta + (beta - 1) * fixed.clamp(max=MAX_EXPONENT).exp()).clamp(*DELTA_RANGE)
        delta = torch.where(is_id > 0, delta.clamp(min=1), delta.clamp(max=1))
    return BalancedRows(
        log_beta,
        delta,
        F.relu(log_beta + F.logsigmoid(fixed)),
        F.binary_cross_entropy_with_logits(logit - delta.log(), is_id, reduction="none"),
    )


def _auxiliary(objective: Objective, features: Tensor, labels: Tensor, heads: Heads) -> Tensor:
    if objective.aux == "pascl":
        return pascl(features, labels, heads, objective.n_classes, objective.k, objective.temperature)
    if objective.aux == "simclr":
        return simclr(features, 2 * len(labels), heads)
    return features.new_zeros(())


def _is_id(rows: int, n_id: int, like: Tensor) -> Tensor:
    return (torch.arange(rows, device=like.device) < n_id).to(like.dtype)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

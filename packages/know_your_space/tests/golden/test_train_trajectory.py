"""train_trajectory*: the recorded runs, replayed with this package's queue, Gaussians, losses and schedule."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.data.classes import class_counts, class_weights
from know_your_space.inliers import (
    class_means,
    covariance_factor,
    latent_samples,
    pooled_covariance,
    select_by_norm,
)
from know_your_space.losses import cross_entropy, margin_loss
from know_your_space.queues import LatentQueue
from know_your_space.schedule import learning_rate
from ood_shared.testing.golden import Entries, Golden, check_each, fill_state_dict, golden_dir, hashed_uniform, tensors
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

ATOL, LOSS_RTOL, MARGIN_ATOL, LOG_DENSITY_ATOL = 1e-5, 1e-5, 1e-3, 5e-3

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
RUNS = sorted(path.stem for path in GOLDEN.folder.glob("train_trajectory*.npz"))


class Net(nn.Module):
    """One hidden layer: `body` with ReLU gives the features, `fc` the logits."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x).relu()
        return self.fc(features), features


@dataclass
class Trace:
    """What a run leaves."""

    arrays: Entries
    net: Net
    ce: list[float] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    selected: list[Tensor] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    covariances: list[Tensor] = field(default_factory=list)
    queues: list[Tensor] = field(default_factory=list)
    log_density: list[Tensor] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    last_epoch: int = 0


def state(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{key}": value for key, value in weights.items()}


near = partial(np.testing.assert_allclose, rtol=0, atol=ATOL)


def replay(arrays: Entries) -> Trace:
    number = Entries({key: value.item() for key, value in arrays.items() if value.ndim == 0}, arrays.source)
    x_in, y_in, x_out, eps = tensors(arrays, "x_in", "y_in", "x_out", "eps")
    classes, batch_in, batch_out = number["num_classes"], number["batch_in"], number["batch_out"]
    net = Net(x_in.shape[1], eps.shape[-1], classes)
    fill_state_dict(net, rule=hashed_uniform)
    trace = Trace(arrays, net)
    weights = class_weights(class_counts(y_in, classes))
    queue = LatentQueue(classes, number["sample_number"], eps.shape[-1])
    optimizer = torch.optim.Adam(
        net.parameters(), lr=number["lr"], betas=(0.9, 0.98), weight_decay=number["weight_decay"]
    )
    batches = list(zip(x_in.split(batch_in), y_in.split(batch_in), strict=True))[: number["steps_per_epoch"]]
    outliers = x_out.split(batch_out)[: number["out_batches"]]
    best_accuracy, step = -1.0, 0
    for epoch in range(1, number["epochs"] + 1):
        optimizer.param_groups[0]["lr"] = learning_rate(epoch, 1, number["lr"])
        for position, (x, y) in enumerate(batches):
            logits, features = net(torch.cat([x, outliers[position % len(outliers)]]))
            ce, margin = cross_entropy(logits[: len(x)], y, weights), torch.zeros(())
            if queue.push(features[: len(x)], y) and epoch >= number["start_epoch"]:
                noise = eps[len(trace.active)]
                samples = record_samples(trace, queue, noise, number["select"], step)
                margins = number["m_in"], number["m_out"], number["T"]
                margin = margin_loss(net.fc(samples), logits[len(x) :], *margins).total
            optimizer.zero_grad()
            (ce + number["beta1"] * margin).backward()
            optimizer.step()
            trace.ce.append(ce.item())
            trace.margin.append(margin.item())
            step += 1
        with torch.inference_mode():
            predicted = torch.cat([net(x)[0].argmax(dim=1) for x, _ in batches])
        accuracy = balanced_accuracy_score(torch.cat([y for _, y in batches]), predicted)
        trace.last_epoch = epoch + 1
        if accuracy > best_accuracy:
            best_accuracy, trace.best, trace.best_epoch = accuracy, state(net), epoch + 1
    return trace


def record_samples(trace: Trace, queue: LatentQueue, noise: Tensor, select: int, step: int) -> Tensor:
    """The latent inliers of a step from recorded noise, with everything that the vectors hold on the way."""
    means = class_means(queue.features)
    covariance = pooled_covariance(queue.features, means)
    factor, jittered = covariance_factor(covariance)
    assert not jittered
    selected = select_by_norm(noise, select)
    trace.active.append(step)
    trace.selected.append(selected)
    trace.means.append(means)
    trace.covariances.append(covariance)
    trace.queues.append(queue.ordered().clone())
    gaussian = torch.distributions.MultivariateNormal(means.unsqueeze(1), covariance)
    trace.log_density.append(gaussian.log_prob(latent_samples(means, factor, noise)))
    chosen = noise.gather(1, selected.unsqueeze(2).expand(-1, -1, noise.shape[2]))
    return latent_samples(means, factor, chosen).flatten(0, 1)


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> Trace:
    return replay(GOLDEN.npz(request.param))


def test_the_first_weights_are_those_of_the_rule(run: Trace) -> None:
    net = fill_state_dict(Net(*run.net.body.weight.T.shape, len(run.net.fc.bias)), rule=hashed_uniform)
    check_each(run.arrays, under("init", net.state_dict()), np.testing.assert_array_equal)


def test_the_margin_loss_is_active_in_the_recorded_steps(run: Trace) -> None:
    assert run.active == run.arrays["active_steps"].tolist()


def test_cross_entropies_agree(run: Trace) -> None:
    np.testing.assert_allclose(run.ce, run.arrays["ce"], rtol=LOSS_RTOL)


def test_margin_losses_agree(run: Trace) -> None:
    np.testing.assert_allclose(run.margin, run.arrays["margin"], rtol=LOSS_RTOL, atol=MARGIN_ATOL)


def test_total_losses_agree(run: Trace) -> None:
    total = np.array(run.ce) + run.arrays["beta1"] * np.array(run.margin)
    np.testing.assert_allclose(total, run.arrays["total"], rtol=LOSS_RTOL)


def test_the_same_rows_are_selected(run: Trace) -> None:
    found = torch.stack(run.selected).sort(dim=-1).values
    np.testing.assert_array_equal(found, np.sort(run.arrays["selected"], axis=-1))


def test_class_means_agree(run: Trace) -> None:
    np.testing.assert_allclose(torch.stack(run.means), run.arrays["mean"], rtol=0, atol=ATOL)


@pytest.mark.parametrize(("position", "when"), [(0, "first"), (-1, "last")])
def test_covariances_and_queues_agree(run: Trace, position: int, when: str) -> None:
    if not run.active:
        pytest.skip("the margin loss is active in no step")
    check_each(run.arrays, {f"cov_{when}": run.covariances[position], f"queue_{when}": run.queues[position]}, near)


def test_log_densities_agree(run: Trace) -> None:
    expected = run.arrays["log_prob"]
    np.testing.assert_allclose(torch.stack(run.log_density), expected, rtol=0, atol=LOG_DENSITY_ATOL)


def test_the_final_weights_agree(run: Trace) -> None:
    check_each(run.arrays, under("final", run.net.state_dict()), near)


def test_the_best_weights_agree(run: Trace) -> None:
    check_each(run.arrays, under("best", run.best), near)


def test_the_checkpoints_carry_the_recorded_epochs(run: Trace) -> None:
    found = {"ckpt_best_epoch": run.best_epoch, "ckpt_last_epoch": run.last_epoch}
    check_each(run.arrays, found, np.testing.assert_array_equal)

"""Two processes train as one that averages the gradients of the same two half-batches."""

import copy
from pathlib import Path

import pytest
import torch
from know_your_space.data.classes import balanced_draws, class_counts, class_weights
from know_your_space.data.parts import load_parts
from know_your_space.inliers import draw_latent
from know_your_space.losses import cross_entropy, margin_loss
from know_your_space.networks import WideResNet
from know_your_space.outliers import convolved_outliers, pixel_outliers
from know_your_space.queues import LatentQueue
from know_your_space.train import BETAS, RANK_STEP, WEIGHT_DECAY
from know_your_space.transforms import draw_affine, training_transform
from ood_shared.devices import seed_everything
from ood_shared.runs import read_metrics
from ood_shared.testing.ranks import run_ranks

SCRIPT = str(Path(__file__).parents[1] / "two_ranks.py")
DATA, BATCH, LENGTH, SEED, EPOCHS = "data/tiny.npz", 8, 5, 1, 3
FLAGS = [
    *("--in_dataset", DATA, "--layers", "10", "--widen-factor", "1", "--droprate", "0", "--augmix", "--rand_conv"),
    *("--batch_size", str(BATCH), "--sample_number", str(LENGTH), "--seed", str(SEED), "--epochs"),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, builders):
    """The folder in which two processes have trained."""
    folder = tmp_path_factory.mktemp("ranks")
    builders.write_npz(folder / DATA, n_classes=3, per_class={"train": 13, "val": 5, "test": 4})
    ranks = run_ranks([SCRIPT, *FLAGS, str(EPOCHS)], cwd=folder)
    assert [rank.status for rank in ranks] == [0, 0], ranks
    return folder, ranks


def state_of(folder: Path, rank: int) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / f"rank_{rank}.pt", weights_only=True)


def averaged_by_hand(folder: Path) -> tuple[WideResNet, LatentQueue]:
    """The same run in one process, written out: two copies with batch norm of their own, one queue, one optimizer."""
    parts = load_parts(str(folder / DATA), ("train",))
    images, labels = parts["train"].images, parts["train"].labels
    n, counts = len(labels), class_counts(labels, 3)
    weights = class_weights(counts)
    seed_everything(SEED)
    network = WideResNet(3, 10, 1, 0.0).to(memory_format=torch.channels_last)
    copies = [copy.deepcopy(network) for _ in range(2)]
    queue = LatentQueue(3, LENGTH, network.feature_dim)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=BETAS, weight_decay=WEIGHT_DECAY)
    own = [torch.Generator().manual_seed(SEED + RANK_STEP * rank + 1) for rank in range(2)]
    draws = [torch.Generator().manual_seed(SEED + RANK_STEP * rank + 4) for rank in range(2)]
    id_order, outlier_order = (torch.Generator().manual_seed(SEED + offset) for offset in (2, 3))
    for epoch in range(1, EPOCHS + 1):
        chosen = halves(balanced_draws(labels, counts, id_order))
        made = [
            pixel_outliers(images[rows], ("augmix_jigsaw",), 11, draws[rank]).split(BATCH)
            for rank, rows in enumerate(halves(torch.randint(n, (n,), generator=outlier_order)))
        ]
        for number in range(len(made[0])):
            found = []
            for rank, net in enumerate(copies):
                net.load_state_dict(dict(network.named_parameters()), strict=False)  # not its batch norm's buffers
                net.train()
                rows = chosen[rank].split(BATCH)[number]
                x = training_transform(images[rows], draw_affine(len(rows), own[rank]))
                outliers = torch.cat([made[rank][number], convolved_outliers(x, own[rank])])
                logits, features = net(torch.cat([x, outliers]))
                found.append((rows, logits, features))
            was_full = queue.push(
                torch.cat([features[: len(rows)] for rows, _, features in found]),
                torch.cat([labels[rows] for rows, _, _ in found]),
            )
            for rank, (rows, logits, _) in enumerate(found):
                loss = cross_entropy(logits[: len(rows)], labels[rows], weights)
                if was_full and epoch >= 2:
                    samples, _ = draw_latent(queue.features, 64, 10_000, own[rank])
                    loss = loss + 0.1 * margin_loss(copies[rank].fc(samples), logits[len(rows) :]).total
                copies[rank].zero_grad()
                loss.backward()
            for parameter, *mine in zip(network.parameters(), *(net.parameters() for net in copies), strict=True):
                parameter.grad = (mine[0].grad + mine[1].grad) / 2
            optimizer.step()
        for net in copies[1:]:
            net.load_state_dict(copies[0].state_dict())  # running statistics of rank 0 count from here
    network.load_state_dict({**copies[0].state_dict(), **dict(network.named_parameters())})
    return network, queue


def halves(order: torch.Tensor) -> list[torch.Tensor]:
    """Every second index, repeated from the start where the number is odd."""
    even = torch.cat([order, order[: len(order) % 2]])
    return [even[0::2], even[1::2]]


def test_both_end_with_the_weights_of_averaged_half_batches(ended, one_thread):
    network, queue = averaged_by_hand(ended[0])
    for rank in range(2):
        found = state_of(ended[0], rank)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(found["network"][key], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found["queue"]["features"], queue.features, rtol=1e-5, atol=1e-6)


def test_queues_are_equal_on_all_ranks(ended):
    first, second = (state_of(ended[0], rank)["queue"] for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["counts"].tolist() == [LENGTH] * 3


def test_only_rank_0_prints(ended):
    first, second = ended[1]
    assert "Epoch: 3/3" in first.out
    assert second.out == ""


def test_the_margin_loss_took_part(ended):
    record = read_metrics(next((ended[0] / "ckpts").rglob("metrics.jsonl")).parent)[-1]
    assert record["margin_in"] > 0


def test_a_run_of_two_goes_on_as_if_it_had_not_stopped(ended, tmp_path, builders):
    builders.write_npz(tmp_path / DATA, n_classes=3, per_class={"train": 13, "val": 5, "test": 4})
    for epochs in (1, EPOCHS):
        ranks = run_ranks([SCRIPT, *FLAGS, str(epochs)], cwd=tmp_path)
        assert [rank.status for rank in ranks] == [0, 0], ranks
    for rank in range(2):
        expected, found = state_of(ended[0], rank)["network"], state_of(tmp_path, rank)["network"]
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_one_process_does_not_go_on_with_a_run_of_two(ended, runs, monkeypatch, place):
    monkeypatch.chdir(ended[0])
    monkeypatch.setattr(runs, "TINY", tuple(FLAGS[2:-1]))
    error = runs.train("--dist", epochs=EPOCHS + 1).error
    assert "was written by 2 processes, now there is 1" in error

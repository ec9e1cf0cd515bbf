"""Train as one of several processes, or as one process that averages the gradients of their batches.

python two_ranks.py DATA OUT {rank,one} METRIC AUX
"""

import sys
from pathlib import Path

import torch
from imood import longtail
from imood.data.batches import Feed
from imood.data.registry import open_task
from imood.data.tasks import Source
from imood.losses import Objective, training_losses
from imood.settings import Settings
from imood.train import make_network, make_optimizer, train
from ood_shared import checkpoints, distributed
from ood_shared.training import Compute

CPU = torch.device("cpu")
STEPS, RANKS = 3, 2


def settings(task, metric, aux):
    return Settings(
        dataset="cifar10", model="ResNet18", counts=tuple(task.counts), ood_metric=metric, aux_ood_loss=aux, epochs=1,
        batch_size=32, width=2, seed=4, test_batch_size=30, opt="sgd", lr=0.05, k=0.4,
    )  # fmt: skip


def one_process(task, chosen, out):
    """Each step: the gradient of each rank's batch in a network of its own (batch norm and contrast are per rank)."""
    networks = [make_network(chosen) for _ in range(RANKS)]
    optimizers = [make_optimizer(network, chosen) for network in networks]
    objective = Objective(chosen.ood_metric, len(chosen.counts), chosen.aux_ood_loss, chosen.k, chosen.T)
    adjustment = longtail.adjustments(chosen.counts, chosen.logit_adjust)
    feeds = []
    for rank in range(RANKS):
        distributed.rank, distributed.world_size = lambda rank=rank: rank, lambda: RANKS
        feed = Feed(task.train(), task.aux(), task.views, chosen.batch_size, chosen.seed, CPU)
        feeds.append(list(feed.epoch(0)))
    for batches in zip(*feeds, strict=True):
        for network, optimizer, batch in zip(networks, optimizers, batches, strict=True):
            logits, features = network.train()(batch.images)
            parts = training_losses(objective, logits, features, batch.labels, adjustment, network)
            optimizer.zero_grad()
            (parts.id_loss + chosen.Lambda * parts.ood_loss + chosen.Lambda2 * parts.aux_loss).backward()
        for pair in zip(*(network.parameters() for network in networks), strict=True):
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in pair]
            if any(p.grad is not None for p in pair):
                mean = (found[0] + found[1]) / RANKS
                for p in pair:
                    p.grad = mean.clone()
        for optimizer in optimizers:
            optimizer.step()
    checkpoints.save(out, networks[0].state_dict())


def main():
    data, out, role, metric, aux = sys.argv[1:]
    torch.set_num_threads(1)
    task = open_task(Source("cifar10", Path(data), 0.1, "ResNet18", CPU), training=True)
    chosen = settings(task, metric, aux)
    if role == "one":
        one_process(task, chosen, Path(out))
        return
    with distributed.setup(CPU):
        _, pool, _ = train(task, chosen, Path(out), Compute(CPU))
        if pool is not None:
            checkpoints.save(Path(f"{out}-pool{distributed.rank()}"), pool.state_dict())


if __name__ == "__main__":
    main()

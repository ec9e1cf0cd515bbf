"""What each of several processes finds; prints JSON. Started by test_distributed."""

import json
import sys

import torch
from ood_shared import distributed
from torch import nn

CPU = torch.device("cpu")


def main() -> None:
    with distributed.setup(CPU):
        rank = distributed.rank()
        if "lose" in sys.argv:
            if rank == 1:
                raise SystemExit(0)
            distributed.sum_over_ranks(torch.ones(1))
        torch.manual_seed(rank)
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        distributed.broadcast(net)
        start = net[0].weight.tolist()
        x = torch.arange(12.0).reshape(4, 3)[2 * rank : 2 * rank + 2] ** 2
        net[0](x).square().sum().backward()
        distributed.average_gradients(net)
        order = torch.arange(5)
        mine = distributed.shard(order)
        print(
            json.dumps(
                {
                    "rank": rank,
                    "world": distributed.world_size(),
                    "main": distributed.is_main(),
                    "start": start,
                    "gradient": net[0].weight.grad.tolist(),
                    "untouched": net[1].weight.grad is None,
                    "shard": mine.tolist(),
                    "short": distributed.shard(torch.tensor([7])).tolist(),
                    "rows": distributed.gather_rows(10 * mine, len(order)).tolist(),
                    "batch": distributed.gather_batch(torch.tensor([rank, rank + 10])).tolist(),
                    "objects": distributed.gather_objects({"rank": rank}),
                    "sum": distributed.sum_over_ranks(torch.tensor(rank + 1)).item(),
                    "any": distributed.on_any_rank(rank == 1, CPU),
                    "none": distributed.on_any_rank(False, CPU),
                }
            )
        )
        distributed.wait_for_all()


if __name__ == "__main__":
    main()

"""Several processes that train or score together, as `torchrun` starts them. A single process is rank 0 of 1.

    with setup(device) as device:             # joins the others; nothing happens in a single process
        network = build().to(device)
        broadcast(network)                    # all start from rank 0's weights
        for batch in shard(order): …          # every rank gets its part of the order, all as many
            loss.backward()
            average_gradients(network)        # one process with the averaged gradients takes the same step
        scores = gather_rows(scores, total)   # of all ranks, in the order of the set, without padded duplicates

Gradients are averaged by one call after the backward pass and not by a wrapper around the network: the training loops
here also call parts of a network alone, or differentiate by the input only, which a wrapper's hooks do not survive.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ood_shared.errors import InputError

TIMEOUT = timedelta(minutes=30)  # that a rank waits for the others, say while one reads its data
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "socket timeout", "timed out waiting")


def launched() -> bool:
    """Whether `torchrun` (or any launcher that sets its variables) started several processes."""
    return _number("WORLD_SIZE", 1) > 1


def rank() -> int:
    """Rank of this process among those that `torchrun` started; 0 when there is one."""
    return dist.get_rank() if _joined() else _number("RANK", 0)


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if _joined() else 1


def is_main() -> bool:
    """Whether this process prints, draws progress bars and writes files."""
    return rank() == 0


@contextmanager
def setup(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes for the time of the block; without a launcher nothing happens.

    Args:
        device: a CUDA device is replaced by the one with the number of this process on its machine.

    Yields:
        The device of this process.

    Raises:
        InputError: fewer CUDA devices than processes, variables of the launcher missing, or another process was lost.
    """
    if not launched() or _joined():
        yield device
        return
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise InputError(f"WORLD_SIZE is set but {name} is not. Start several processes with torchrun.")
    if device.type == "cuda":
        device = _own_gpu()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield device
        dist.barrier()  # none leaves while another still needs it
    except RuntimeError as error:
        if any(words in str(error).lower() for words in _LOST):
            raise InputError(
                f"Rank {rank()} lost the other processes of the run. See their messages; --resume continues."
            ) from error
        raise
    finally:
        dist.destroy_process_group()


def shard(order: Tensor) -> Tensor:
    """This rank's part of an order of samples: every `world_size`-th, as many on each rank.

    The order is first repeated from its start up to a multiple of the number of ranks; `gather_rows` drops what that
    added.

    Args:
        order: int64 (n,), the same on all ranks.

    Returns:
        int64 (ceil(n / world_size),).
    """
    count = world_size()
    padding = -len(order) % count
    if padding and len(order):
        order = torch.cat([order, order.repeat(-(-padding // len(order)))[:padding]])
    return order[rank() :: count]


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """Rows of all ranks in the order of the set that `shard` divided; the same tensor on every rank.

    Args:
        rows: (n, …), this rank's rows, as many on every rank.
        total: length of the set; rows that `shard` repeated are dropped.
    """
    if world_size() == 1:
        return rows[:total]
    return torch.stack(_all(rows), dim=1).flatten(0, 1)[:total]


def gather_batch(rows: Tensor) -> Tensor:
    """The batches of all ranks one after the other, (world_size n, …); the same tensor on every rank, no gradient."""
    return rows.detach() if world_size() == 1 else torch.cat(_all(rows.detach()))


def gather_objects(value: Any) -> list[Any]:
    """A value of each rank, by rank, on every rank. Pickled between the run's own processes only."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def broadcast(module: nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the ranks, in one exchange. Parameters without gradient are left alone;
    they have to be the same on every rank.
    """
    if world_size() == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def on_any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank, so that all of them stop after the same batch."""
    if world_size() == 1:
        return flag
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())


def wait_for_all() -> None:
    """Return once every rank has come here."""
    if world_size() > 1:
        dist.barrier()


def _all(rows: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return parts


def _own_gpu() -> torch.device:
    local, count = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= count:
        raise InputError(
            f"Process {local} of this machine has no GPU: there are {count}. "
            f"Start with --nproc-per-node {max(count, 1)}, or pass --device cpu."
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default

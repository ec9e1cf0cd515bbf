"""Which of several processes this is. A single process is rank 0 of 1."""

import os

import torch.distributed


def rank() -> int:
    """Rank of this process among those that `torchrun` started; 0 when there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process prints, draws progress bars and writes files."""
    return rank() == 0

"""Scores of an image that do not depend on the images beside it, to the last bit.

On a CPU the kernels of a network are chosen by the shape of the batch, and their sums round differently: an image
scored alone and the same image in a batch of 250 differ in the last bits. In blocks of one fixed number of rows, the
last one filled up with copies of its last row, every image takes the same way whatever is asked for beside it.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 16  # rows; on a CPU about as fast as larger ones for the networks here, and 16 images' time for a single one


def blocks(rows: Tensor, batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, int]]:
    """The rows in order, in batches as the device wants them, with the number of rows that count.

    Args:
        rows: (n, …), on any device.
        batch_size: rows of a batch on a GPU; on a CPU it is `BLOCK`.
        device: of the computation; the batches lie there.
    """
    size = BLOCK if device.type == "cpu" else batch_size
    for chunk in torch.split(rows, size) if len(rows) else ():
        n = len(chunk)
        if n < size and device.type == "cpu":
            chunk = torch.cat([chunk, chunk[-1:].expand(size - n, *chunk.shape[1:])])
        # of one channel there are two valid patterns of strides, and kernels are chosen by them, too
        yield chunk.clone(memory_format=torch.contiguous_format).to(device, non_blocking=True), n


def map_rows(function: Callable[[Tensor], Tensor], rows: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """The function's rows for these rows, on the CPU; on a CPU the same whatever stands beside a row.

    Args:
        function: from (b, …) on the device to (b, …), each row by itself.
        rows: (n, …), n from 1 on.
        batch_size: rows of a batch on a GPU.
        device: of the computation.
    """
    if torch.compiler.is_exporting():  # into a graph, which takes any number of rows
        return function(rows)
    return torch.cat([function(chunk)[:n].cpu() for chunk, n in blocks(rows, batch_size, device)])

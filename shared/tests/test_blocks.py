"""Outputs that do not depend on the batch."""

import torch
from ood_shared.blocks import BLOCK, blocks, map_rows
from torch import nn

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 13 * 13, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    ).eval()


@torch.inference_mode()
def test_a_row_s_output_is_the_same_to_the_bit_whatever_stands_beside_it() -> None:
    net, rows = network(), torch.randn(100, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    whole = map_rows(net, rows, 250, CPU)
    for size in (1, 7, 50):
        assert torch.equal(torch.cat([map_rows(net, part, 250, CPU) for part in rows.split(size)]), whole)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(2))
    assert torch.equal(map_rows(net, rows[order], 250, CPU), whole[order])


def test_blocks_are_of_one_size_and_say_how_many_rows_count() -> None:
    rows = torch.arange(2 * BLOCK + 3.0)[:, None]
    found = list(blocks(rows, 1000, CPU))
    assert [(len(chunk), n) for chunk, n in found] == [(BLOCK, BLOCK), (BLOCK, BLOCK), (BLOCK, 3)]
    assert torch.equal(torch.cat([chunk[:n] for chunk, n in found]), rows)
    assert list(blocks(rows[:0], 10, CPU)) == []


@torch.inference_mode()
def test_one_channel_laid_out_either_way_gives_the_same_bits() -> None:
    net, rows = network(), torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    other = torch.empty_strided(rows.shape, (784, 1, 28, 1)).copy_(rows)
    assert other.is_contiguous()
    assert other.stride() != rows.stride()
    assert torch.equal(map_rows(net, other, 250, CPU), map_rows(net, rows, 250, CPU))

"""One graph for all numbers of images."""

import torch
from ood_shared.devices import maybe_compile
from ood_shared.testing.graphs import counted_graphs
from torch import nn


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def test_a_smaller_batch_needs_no_graph_of_its_own() -> None:
    with counted_graphs() as found:
        forward = maybe_compile(network(), True)
        shapes = [tuple(forward(torch.zeros(n, 3, 8, 8)).shape) for n in (12, 12, 7, 9, 2)]
    assert shapes == [(12, 2), (12, 2), (7, 2), (9, 2), (2, 2)]
    assert (len(found), found.breaks) == (1, [])


def test_a_mode_needs_one() -> None:
    trunk = network()
    with counted_graphs() as found:
        forward = maybe_compile(trunk, True)
        for training in (True, False, True, False):
            trunk.train(training)
            forward(torch.zeros(5 + training, 3, 8, 8))
    assert len(found) == 2


def test_rows_beside_the_images_change_their_number_too() -> None:
    with counted_graphs() as found:
        forward = maybe_compile(lambda images, codes: images.flatten(1).sum(1) + codes.sum(1), True)
        for n in (5, 4, 6):
            assert forward(torch.ones(n, 1, 2, 2), torch.ones(n, 3)).tolist() == [7.0] * n
    assert len(found) == 1


def test_what_breaks_a_trace_is_told() -> None:
    with counted_graphs() as found:
        maybe_compile(lambda images: images + float(images.sum()), True)(torch.ones(3, 2))
    assert found.breaks

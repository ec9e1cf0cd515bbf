"""How many graphs `--compile` makes in a run, counted without compiling anything: each is run as it was traced."""

from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, fx

from ood_shared.testing.trainers import trainers_of


class Graphs:
    """What was traced.

    Attributes:
        inputs: of each graph, how many tensors it takes.
        breaks: why a function could not be traced as a whole.
    """

    def __init__(self) -> None:
        self.inputs: list[int] = []
        self.breaks: list[str] = []

    def __call__(self, graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        """As a backend of `torch.compile`."""
        self.inputs.append(len(inputs))
        return graph.forward

    def __len__(self) -> int:
        return len(self.inputs)


@contextmanager
def counted_graphs() -> Iterator[Graphs]:
    """Inside the block `torch.compile` traces, and each graph is counted."""
    found = Graphs()
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    try:
        with mock.patch.object(torch, "compile", partial(torch.compile, backend=found)):
            yield found
        found.breaks += list(torch._dynamo.utils.counters["graph_break"])
    finally:
        torch.compiler.reset()


def graphs_of(file: Path, name: str, place: Path, *more: str) -> Graphs:
    """Those of a short training with `--compile`.

    Args:
        file: defines `trainers(place)`, see `ood_shared.testing.trainers`.
        name: of the trainer.
        place: folder for the data and the run.
        more: flags.
    """
    with chdir(place), counted_graphs() as found:
        trainer = trainers_of(file, place)[name]
        status = trainer.main([*trainer.words("out"), "--compile", *more])
    assert status == 0
    return found

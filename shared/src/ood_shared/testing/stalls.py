"""What would make a training step wait for a GPU, found on a CPU by looking at the operations that it runs.

A step waits where the host asks for a value (`item`), where a shape depends on values (`nonzero`, a boolean index), and
where it sends a constant that it has just made (`tensor`). Work of the host itself, such as its draws, is not told from
that of the device here: a test names the places where it is right.
"""

import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ood_shared.testing.trainers import trainers_of

_ATEN = torch.ops.aten
_WAITS = {
    _ATEN._local_scalar_dense.default: "item",
    _ATEN.nonzero.default: "nonzero",
    _ATEN.masked_select.default: "nonzero",
    _ATEN._unique2.default: "unique",
    _ATEN.equal.default: "item",
    _ATEN.lift_fresh.default: "tensor",
}
_INDEXING = (_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default)
_OURS = ("shared", "packages")  # folders of the repository


class Stalls(TorchDispatchMode):
    """Notes each place of this project's code that waits, as `item in pool.py, ready`.

    Attributes:
        found: the places.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and note it when it waits."""
        word = _WAITS.get(func)
        if func in _INDEXING:
            masks = [index for index in args[1] if isinstance(index, Tensor) and index.dtype == torch.bool]
            word = "nonzero" if masks else None
        if word is not None and (place := _place()) is not None:
            self.found.add(f"{word} in {place}")
        return func(*args, **(kwargs or {}))


def stalls_of(file: Path, name: str, owner: ModuleType | type, function: str, place: Path) -> set[str]:
    """The places that wait inside a function of a short training.

    Args:
        file: defines `trainers(place)`, see `ood_shared.testing.trainers`.
        name: of the trainer.
        owner: module or class of the function.
        function: its name.
        place: folder for the data and the run, the working folder.
    """
    trainer = trainers_of(file, place)[name]
    watched, original = Stalls(), getattr(owner, function)

    def run(*args: Any, **kwargs: Any) -> Any:
        with watched:
            return original(*args, **kwargs)

    setattr(owner, function, run)
    try:
        status = trainer.main(trainer.words("out"))
    finally:
        setattr(owner, function, original)
    assert status == 0
    return watched.found


def _place() -> str | None:
    """File and function of the innermost frame of ours; None below an optimizer, whose counts lie on the host."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        path = Path(frame.filename)
        if path.parts[-2:-1] == ("optim",):
            return None
        ours = any(part in _OURS for part in path.parts) and "site-packages" not in path.parts
        if ours and path != Path(__file__):
            return f"{path.name}, {frame.name}"
    return None

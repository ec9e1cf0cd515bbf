"""A detector as data, for its file: what `state()` of a detector gives, and `restore` of its package takes.

def restore(state: State, device: torch.device) -> Detector:
    network = state.fill(build(state.word("network", NETWORKS), len(state.classes)))
    return Detector(network.to(device), state.tensor("means", len(state.classes), 64), native=state.native())

The methods refuse what a forged or truncated file lacks, in words that follow the name of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from ood_shared.checkpoints import load_weights
from ood_shared.errors import InputError

MOST_SIDE = 1 << 16  # pixels
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class State:
    """A detector as data.

    Attributes:
        kind: name of an entry point in the group `ood_shared.detectors`.
        classes: names of the ID classes.
        settings: JSON values: all that is no tensor.
        tensors: by name; of any dtype that safetensors knows.
    """

    kind: str
    classes: tuple[str, ...]
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start so, without it: `network.` for a state dict."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}

    def fill(self, network: Network, prefix: str = "network.") -> Network:
        """The network with the weights below a prefix, in eval mode.

        Raises:
            InputError: a weight is missing or too many, or has another shape.
        """
        load_weights(network, self.below(prefix), f"`{prefix.rstrip('.')}`")
        return network.eval()

    def tensor(self, name: str, *shape: int | None) -> Tensor:
        """A tensor of a shape, whose None stand for any length.

        Raises:
            InputError: it is missing, or of another shape.
        """
        if name not in self.tensors:
            raise InputError(f"it lacks `{name}`.")
        found = self.tensors[name]
        if found.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, found.shape, strict=False)
        ):
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise InputError(f"`{name}` is {tuple(found.shape)}, expected ({wanted}).")
        return found

    def word(self, name: str, known: Sequence[str]) -> str:
        """A setting that is one of some words.

        Raises:
            InputError: it is missing, or another one.
        """
        found = self.settings.get(name)
        if not isinstance(found, str) or found not in known:
            raise InputError(f"`{name}` is {found!r}, expected one of {', '.join(known)}.")
        return found

    def number(self, name: str) -> float:
        """A setting that is a number.

        Raises:
            InputError: it is missing, or none.
        """
        found = self.settings.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise InputError(f"`{name}` is {found!r}, expected a number.")
        return found

    def flag(self, name: str) -> bool:
        """A setting that is true or false.

        Raises:
            InputError: it is missing, or neither.
        """
        found = self.settings.get(name)
        if not isinstance(found, bool):
            raise InputError(f"`{name}` is {found!r}, expected true or false.")
        return found

    def native(self) -> tuple[int, int] | None:
        """The setting `native`, height and width of the training images; None where it is null.

        Raises:
            InputError: it is no size.
        """
        found = self.settings["native"]
        if found is None:
            return None
        pair = isinstance(found, list | tuple) and len(found) == 2
        if not pair or not all(type(n) is int and 0 < n < MOST_SIDE for n in found):
            raise InputError(f"`native` is {found!r}, expected [height, width].")
        return found[0], found[1]


@runtime_checkable
class Savable(Protocol):
    """A detector that can be kept in a file."""

    def state(self) -> State:
        """The detector as data; `restore` of its package makes it again, equal to the bit on the same machine."""

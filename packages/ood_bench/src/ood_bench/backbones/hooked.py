"""The feature maps of a network that nobody wrote for this: the outputs of its modules, chosen by their resolution.

A trial pass lists the modules whose output is a map (n, c, h, w). The last one of each resolution is taken, at most
four, the coarsest ones. A transformer has no such maps: its tokens (n, 1 + s * s, d) of four blocks, evenly spaced,
become maps (n, d, s, s); a class token is left out.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from ood_shared.errors import InputError
from torch import Tensor, nn

from ood_bench.backbones.backbone import Inputs

MOST_MAPS = 4
MOST_EXTRA = 5  # tokens before those of the places
Shapes = list[tuple[str, tuple[int, ...]]]  # of the outputs of modules, in the order of the calls


class Hooked(nn.Module):
    """A network with the maps of some of its modules.

    Args:
        network: any; called with one batch of images.
        layers: names of the modules, in the order of their calls.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)
        modules = dict(network.named_modules())
        lacking = next((name for name in layers if name not in modules), None)
        if lacking is not None:
            raise InputError(f"The network has no module {lacking!r}; it is another one than the maps were taken of.")

    def maps(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """The outputs of the modules, as maps."""
        found: dict[str, Tensor] = {}
        modules = dict(self.network.named_modules())
        with hooked((name, modules[name], found.__setitem__) for name in self.layers):
            self.network(x)
        return [as_map(found[name]) for name in self.layers]


def hook(network: nn.Module, inputs: Inputs) -> Hooked:
    """The network with the maps that are worth measuring.

    Raises:
        InputError: it does not take such images, or has no maps.
    """
    images = torch.zeros(2, inputs.channels, inputs.side, inputs.side)
    network.eval()
    try:
        with torch.inference_mode():
            layers = choose_layers(note_shapes(network, lambda: network(images)))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        shape, reason = tuple(images.shape), " ".join(str(error).split())[:200]
        raise InputError(f"The network does not take images {shape}: {reason}") from None
    if not layers:
        raise InputError("The network has no feature maps: no module gives (n, c, h, w) or tokens (n, 1 + s * s, d).")
    return Hooked(network, layers)


@contextmanager
def hooked(wanted: Iterable[tuple[str, nn.Module, Callable[[str, Any], Any]]]) -> Iterator[None]:
    """Within, the output of each module is handed on with its name."""

    def keep(name: str, store: Callable[[str, Any], Any]) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            store(name, output)

        return hook

    hooks = [module.register_forward_hook(keep(name, store)) for name, module, store in wanted]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def note_shapes(network: nn.Module, call: Callable[[], object]) -> Shapes:
    """Name and shape of the outputs of all modules, in the order of the calls."""
    seen: Shapes = []

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            seen.append((name, tuple(output.shape)))

    with hooked((name, module, note) for name, module in network.named_modules() if name):
        call()
    return seen


def choose_layers(seen: Shapes) -> list[str]:
    """Names of the modules whose outputs are measured, in the order of their calls; none where there are no maps."""
    order = [name for name, _ in seen]
    maps = {shape[2:]: name for name, shape in seen if len(shape) == 4 and min(shape[2:]) > 1}
    if len(maps) > 1:
        return sorted(maps.values(), key=lambda name: _last(order, name))[-MOST_MAPS:]
    tokens = [(name, shape) for name, shape in seen if len(shape) == 3 and token_side(shape[1])]
    if tokens:
        blocks = [name for name, shape in tokens if shape == tokens[-1][1] and _is_block(name)]
        chosen = blocks or [name for name, _ in tokens]
        steps = min(MOST_MAPS, len(chosen))
        return list(dict.fromkeys(chosen[round((at + 1) * len(chosen) / steps) - 1] for at in range(steps)))
    return list(maps.values())


def as_map(output: Tensor) -> Float[Tensor, "n c h w"]:
    """A map, tokens as a map, or features as a map of one place.

    Raises:
        InputError: another shape.
    """
    if output.ndim == 4:
        return output
    if output.ndim == 2:
        return output[:, :, None, None]
    side = token_side(output.shape[1]) if output.ndim == 3 else None
    if side is None:
        raise InputError(f"An output of the network is {tuple(output.shape)}; expected a map (n, c, h, w) or (n, d).")
    return output[:, output.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))


def token_side(count: int) -> int | None:
    """Side of the square that so many tokens make, with up to five others before them; None for none.

    >>> token_side(197), token_side(196), token_side(3)
    (14, 14, None)
    """
    for extra in range(MOST_EXTRA + 1):
        side = math.isqrt(max(count - extra, 0))
        if side > 1 and side * side == count - extra:
            return side
    return None


def _is_block(name: str) -> bool:
    """Whether a module is a whole block: `blocks.3`, `encoder.layers.encoder_layer_3`."""
    return name.rsplit(".", 1)[-1].rsplit("_", 1)[-1].isdecimal() and "mlp" not in name and "attn" not in name


def _last(order: Sequence[str], name: str) -> int:
    return len(order) - 1 - list(reversed(order)).index(name)

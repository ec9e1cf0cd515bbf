"""Checkpoints: written whole, loaded without running code, holding all that a run needs to go on bit-equal."""

from ood_shared.checkpoints.generators import kept_generators, restore_rng_state, rng_state
from ood_shared.checkpoints.parts import load_parts, of_kinds, restoring
from ood_shared.checkpoints.storage import load, load_value, save, sha256
from ood_shared.checkpoints.weights import check_tensor, check_weights, load_weights, read_weights, weights_in

__all__ = [
    "check_tensor",
    "check_weights",
    "kept_generators",
    "load",
    "load_parts",
    "load_value",
    "load_weights",
    "of_kinds",
    "read_weights",
    "restore_rng_state",
    "restoring",
    "rng_state",
    "save",
    "sha256",
    "weights_in",
]

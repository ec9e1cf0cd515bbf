"""ASCOOD: outliers synthesised from gradient attribution, i-ODIN, and post-hoc scores (arXiv 2411.10794).

detector = ascood.load("results/…/s0")         # or ascood.fit(images, labels)
scores = detector.score(images)                # (n,), higher = more OOD
classes = detector.predict(images)             # (n,), -1 beyond detector.threshold, if given
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ascood.checkpoints import load as load
    from ascood.fitting import fit as fit

__all__ = ["fit", "load"]
_MODULES = {"fit": "ascood.fitting", "load": "ascood.checkpoints"}  # imported at the first use: they bring torch


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module `ascood` has no attribute `{name}`")
    return getattr(import_module(_MODULES[name]), name)

"""ImOOD: out-of-distribution detection when the training classes are long-tailed (arXiv 2407.16430, NeurIPS 2024).

detector = imood.load("runs/…")           # what `imood train` left; or imood.fit(images, labels)
scores = detector.score(images)           # (n,), higher = more OOD
classes = detector.predict(images)        # (n,), -1 beyond detector.threshold, if given
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imood.fitting import fit
    from imood.loading import load

__all__ = ["fit", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `fit`, which bring torch, once they are asked for."""
    if name == "load":
        from imood.loading import load

        return load
    if name == "fit":
        from imood.fitting import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A trained detector: what all five packages load and fit, what `ood-bench` runs, and what a program calls.

detector = imood.load("runs/cifar10-lt")
scores = detector.score(images)        # (n,), higher = more OOD
classes = detector.predict(images)     # (n,), -1 beyond the threshold

Module by module: `outputs` says what a detector is, `fitting` serves the `fit` of a package, `budget` trains and scores
one for `ood-bench`.
"""

from ood_shared.detector.budget import Method, Train, Trained, asked_of, run_within_budget, score_arrays
from ood_shared.detector.fitting import as_benchmark, as_labels, fitting_in
from ood_shared.detector.outputs import BATCH, Detector, Outputs, outputs_of, within_threshold

__all__ = [
    "BATCH",
    "Detector",
    "Method",
    "Outputs",
    "Train",
    "Trained",
    "as_benchmark",
    "as_labels",
    "asked_of",
    "fitting_in",
    "outputs_of",
    "run_within_budget",
    "score_arrays",
    "within_threshold",
]

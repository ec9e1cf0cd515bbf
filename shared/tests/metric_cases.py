"""Scores for the tests of the metrics, and the metrics from their definitions."""

import itertools
from fractions import Fraction

import numpy as np

ID = np.array([0.1, 0.2, 0.2, 0.4, 0.6])
OOD = np.array([0.2, 0.5, 0.6, 0.9])


def literal(id_scores, ood_scores):
    """Every metric from its definition, threshold by threshold, in exact fractions."""
    id_scores, ood_scores = [float(s) for s in id_scores], [float(s) for s in ood_scores]
    wins = sum(Fraction(1) if o > i else Fraction(1, 2) if o == i else 0 for o in ood_scores for i in id_scores)
    found = {"auroc": float(wins / (len(id_scores) * len(ood_scores)))}
    levels = sorted(set(id_scores + ood_scores))
    for suffix, (positive, negative), direction in (
        ("out", (ood_scores, id_scores), 1),
        ("in", (id_scores, ood_scores), -1),
    ):
        curve = [(Fraction(0), Fraction(1), Fraction(0))]  # TPR, precision, FPR
        for threshold in levels[::-direction]:
            true = sum(direction * s >= direction * threshold for s in positive)
            false = sum(direction * s >= direction * threshold for s in negative)
            curve.append((Fraction(true, len(positive)), Fraction(true, true + false), Fraction(false, len(negative))))
        steps = list(itertools.pairwise(curve))
        found[f"aupr_{suffix}"] = float(sum((b[0] - a[0]) * b[1] for a, b in steps))
        found[f"aupr_{suffix}_trapezoid"] = float(sum((b[0] - a[0]) * (b[1] + a[1]) / 2 for a, b in steps))
        for name, level in (("fpr95", Fraction(95, 100)), ("fpr80", Fraction(80, 100))):
            key = name if suffix == "out" else f"{name}_id_positive"
            found[key] = float(next(fpr for tpr, _, fpr in curve if tpr >= level))
        found["detection_error"] = float(min((1 - tpr + fpr) / 2 for tpr, _, fpr in curve))
    return found


def random_case(seed):
    """Scores of both groups with many, few or no ties, in a random precision and of random sizes."""
    generator = np.random.default_rng(seed)
    n_id, n_ood = generator.integers(1, 60, size=2)
    scores = generator.normal(generator.normal(), 1, n_id), generator.normal(generator.normal(), 1, n_ood)
    dtype = (np.float16, np.float32, np.float64)[seed % 3]
    digits = (0, 1, 12)[seed // 3 % 3]
    return tuple(np.round(s, digits).astype(dtype) for s in scores)

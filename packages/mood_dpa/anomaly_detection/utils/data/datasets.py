"""Slices and volumes as data sets: `mood_dpa.slices`, `mood_dpa.volumes` and `mood_dpa.folds`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.slices", "mood_dpa.volumes", "mood_dpa.folds")

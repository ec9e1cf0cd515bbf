"""Slices and volumes as data sets: `mood_dpa.data.slices`, `mood_dpa.data.volumes` and `mood_dpa.data.folds`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.data.slices", "mood_dpa.data.volumes", "mood_dpa.data.folds")

"""Batches without end: `mood_dpa.data.slices`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.data.slices")

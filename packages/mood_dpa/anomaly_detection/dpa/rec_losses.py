"""Distances of an image and its reconstruction: `mood_dpa.perceptual`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.perceptual")

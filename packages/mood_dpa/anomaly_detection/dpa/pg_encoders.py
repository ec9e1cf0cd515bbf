"""Encoders that grow: `mood_dpa.networks`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.networks", "mood_dpa.layers")

"""From arrays to what the networks take: `mood_dpa.data.preprocessing`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.data.preprocessing")

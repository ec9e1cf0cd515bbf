"""Building blocks: `mood_dpa.layers` and `mood_dpa.networks`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.layers", "mood_dpa.networks")

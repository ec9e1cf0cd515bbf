"""Networks that grow: `mood_dpa.autoencoder`, `mood_dpa.models` and `mood_dpa.growing`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.autoencoder", "mood_dpa.models", "mood_dpa.growing")

"""Networks that grow: `mood_dpa.networks`, `mood_dpa.checkpoints` and `mood_dpa.growing`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(
    __name__, "mood_dpa.networks", "mood_dpa.layers", "mood_dpa.checkpoints", "mood_dpa.growing"
)

"""The training loop, which holds Adam: `mood_dpa.loop` and `mood_dpa.state`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.loop", "mood_dpa.state", "mood_dpa.growing")

"""Configurations, checkpoints and volumes: `mood_dpa.standalone`, `mood_dpa.configuration` and `mood_dpa.volumes`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.standalone", "mood_dpa.configuration", "mood_dpa.volumes")

"""Configurations, checkpoints and volumes: `mood_dpa.standalone`, `.configuration` and `.data.volumes`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(
    __name__, "mood_dpa.standalone", "mood_dpa.config_files", "mood_dpa.configuration", "mood_dpa.data.volumes"
)

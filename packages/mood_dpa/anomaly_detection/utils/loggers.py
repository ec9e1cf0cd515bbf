"""Curves and pictures of a run: `mood_dpa.run_files`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.run_files")

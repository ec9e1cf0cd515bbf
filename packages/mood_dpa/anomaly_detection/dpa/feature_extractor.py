"""VGG19: `mood_dpa.vgg`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.vgg")

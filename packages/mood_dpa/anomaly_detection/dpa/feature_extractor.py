"""VGG19 and its weights: `mood_dpa.vgg`, `mood_dpa.vgg_weights`."""

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(__name__, "mood_dpa.vgg", "mood_dpa.vgg_weights")

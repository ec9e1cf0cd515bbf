"""Deep Perceptual Autoencoders under the module names of the original; the implementation is `mood_dpa`.

The modules below load `mood_dpa` when a name is first asked for, so that importing them costs nothing:

    from anomaly_detection.dpa.feature_extractor import VGG19      # mood_dpa.vgg.VGG19

Classes and functions have the names of `mood_dpa`. `main.py` and the scripts in `utils/data` also run by path.
"""

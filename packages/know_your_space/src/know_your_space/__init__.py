"""Know Your Space (MIDL 2023): an energy detector calibrated by latent inliers and pixel outliers."""

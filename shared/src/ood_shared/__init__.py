"""Datasets, metrics, runs, reports and the bench command that the five detectors share."""

__version__ = "0.1.0"

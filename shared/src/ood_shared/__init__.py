"""Datasets, metrics, runs, results and reports that the five detectors share."""

"""Volumes and slices: reading, cutting, folds, preprocessing, synthetic anomalies, subjects."""

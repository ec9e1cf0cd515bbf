"""Preparation and reading of data; see `mood_dpa.prepare` and `mood_dpa.slices`."""

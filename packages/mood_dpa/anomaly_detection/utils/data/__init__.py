"""Preparation and reading of data; see `mood_dpa.data.prepare` and `mood_dpa.data.slices`."""

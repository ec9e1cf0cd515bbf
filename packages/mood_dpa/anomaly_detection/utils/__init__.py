"""Files, logs and data; see `mood_dpa`."""

"""Networks, losses, training and evaluation; see `mood_dpa`."""

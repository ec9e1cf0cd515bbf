"""know_your_space."""

"""mood_dpa."""

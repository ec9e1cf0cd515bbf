"""MOOD challenge, third place of the pixel task (MOOD challenge): not built yet."""

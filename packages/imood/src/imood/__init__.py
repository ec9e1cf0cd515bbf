"""imood."""

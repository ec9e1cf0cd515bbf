"""ascood."""

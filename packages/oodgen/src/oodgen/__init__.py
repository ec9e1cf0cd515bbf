"""oodgen."""

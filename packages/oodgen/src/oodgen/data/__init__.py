"""Image folders, pixels in memory, generated outliers on disk."""

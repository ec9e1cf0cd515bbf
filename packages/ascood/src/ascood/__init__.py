"""ASCOOD (arXiv 2411.10794): not built yet."""

"""ASCOOD: outliers synthesised from gradient attribution, i-ODIN, and the evaluator (arXiv 2411.10794)."""

"""ImOOD: out-of-distribution detection when the training classes are long-tailed (arXiv 2407.16430, NeurIPS 2024)."""

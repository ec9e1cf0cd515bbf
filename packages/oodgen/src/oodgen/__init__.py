"""Out-of-Distribution Detection in Classifiers via Generation (arXiv 1910.04241)."""

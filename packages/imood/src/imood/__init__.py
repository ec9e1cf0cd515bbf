"""ImOOD (NeurIPS 2024): not built yet."""

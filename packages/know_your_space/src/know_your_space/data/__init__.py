"""Where images lie and how they become tensors: folders, prepared sets, OOD sets, splits."""

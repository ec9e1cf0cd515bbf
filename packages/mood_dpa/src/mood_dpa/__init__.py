"""Deep perceptual autoencoders on the slices of 3D medical images (MOOD 2020, third place of the pixel task)."""

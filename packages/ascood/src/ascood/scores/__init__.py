"""Post-hoc scores by the names of `--postprocessor`.

`base` says what a score sees; `from_logits`, `from_distances`, `from_activations` and `from_subspaces` are scores of
logits and features computed once; `odin` needs the images and their gradients; `catalogue` knows all names.
"""

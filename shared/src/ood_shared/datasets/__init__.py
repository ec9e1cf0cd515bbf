"""Images by name or path: `load("digits", "train")` gives an `ImageSet`, `known_names()` lists the names.

Module by module: `imageset` is the result, `registry` leads from a word to it; `embedded`, `letters` and `noise` need
no files; `mnist_family`, `catalogue`, `photographs` and `medical` are the public sets; `own` is the user's data, with
`tree`, `archives`, `npz`, `idx`, `decode` and `slices` (`dicom`, `nifti`) below it; `resizing` makes one shape of sets.
"""

from ood_shared.datasets.embedded import EMBEDDED_OOD
from ood_shared.datasets.imageset import SPLITS, ImageSet, hold_out
from ood_shared.datasets.noise import NOISE, make_noise
from ood_shared.datasets.registry import is_known, known_names, load, load_any_size
from ood_shared.datasets.resizing import fit, luma, resize

__all__ = [
    "EMBEDDED_OOD",
    "NOISE",
    "SPLITS",
    "ImageSet",
    "fit",
    "hold_out",
    "is_known",
    "known_names",
    "load",
    "load_any_size",
    "luma",
    "make_noise",
    "resize",
]

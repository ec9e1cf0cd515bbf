"""`mood_dpa.fit`: a detector trained on images or volumes in memory, by the code of the bench."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ood_shared.contract import BACKBONES, Request
from ood_shared.datasets import resize
from ood_shared.detector import as_benchmark, fitting_in
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, one_line, unknown
from ood_shared.images import Images
from ood_shared.training import Compute
from torch import Tensor

from mood_dpa.bench import SCHEDULES
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import Rule
from mood_dpa.data.record import Origin
from mood_dpa.data.user_volumes import Volumes, are_volumes, volumes_of
from mood_dpa.detector import ImageDetector, VolumeDetector
from mood_dpa.within_budget import SIDE, train_on_images, train_on_volumes


def fit(
    images: Images | Volumes,
    labels: Sequence[int] | np.ndarray | Tensor | None = None,
    *,
    volumes: bool | None = None,
    rescale: str | None = None,
    output_dir: str | Path | None = None,
    budget: str = "smoke",
    backbone: str = BACKBONES[0],
    seed: int = 0,
    device: str = "auto",
    classes: Sequence[str] | None = None,
) -> ImageDetector | VolumeDetector:
    """Train a detector on exactly these images or volumes.

    Args:
        images: in-distribution ones: images of any size and colour, turned into grey ones of 32 x 32; or volumes, in
            whose slices along each axis an autoencoder is trained.
        labels: whole numbers (n,), checked and not used: nothing is classified.
        volumes: whether they are volumes; None means that nibabel images and paths of NIfTI are, and arrays are not.
        rescale: of volumes only: how intensities get to [0, 1], such as `window 40 400`; kept with the detector. None
            wants them there; see `data.intensities`.
        output_dir: keeps the run, for `load`; a temporary folder when None.
        budget: how long, as `mood_dpa.bench --budget`.
        backbone: checked and not used: there is no classifier.
        seed: of every draw; the global generators are left as they were.
        device: where it is trained.
        classes: names of the labels, not used.

    Raises:
        InputError: images, volumes or labels that do not fit, or a seed or words that mean nothing.
    """
    for what, word, known in (("budget", budget, SCHEDULES), ("backbone", backbone, BACKBONES)):
        if word not in known:
            raise unknown(what, str(word), known)
    Request("images", "", budget=budget, seed=seed)  # which refuses a seed that is none
    if volumes is not None and not isinstance(volumes, bool):
        raise InputError(f"volumes is {one_line(repr(volumes), 60)}; expected True, False or None.")
    of_volumes = are_volumes(images) if volumes is None else volumes
    if rescale is not None and not of_volumes:
        raise InputError("rescale is for volumes, and these are taken as images. Leave it out, or pass volumes=True.")
    compute, schedule = Compute(resolve_device(device)), SCHEDULES[budget]
    generator = torch.Generator().manual_seed(seed)
    with fitting_in(output_dir) as folder:
        torch.manual_seed(seed)
        if of_volumes:
            rule, directions, given = Rule.of(rescale or "none", "rescale"), Directions(), []
            for volume in volumes_of(images, rule):
                given.append(volume.data)
                if volume.header is not None:  # arrays are taken to point alike
                    directions.add(volume.name, volume.affine)
            directions.say()
            origin = Origin(str(rule), tuple(directions.codes))
            ensemble, _, _ = train_on_volumes(given, given[0].shape, schedule, generator, compute, folder, origin)
            return VolumeDetector(ensemble, compute.device, rule=rule)
        prepare = partial(resize, size=(SIDE, SIDE), channels=1)
        benchmark = as_benchmark(images, labels, prepare, classes)
        model, _ = train_on_images(benchmark.train, benchmark.native, schedule, generator, compute, folder)
        return ImageDetector(model, benchmark.native)

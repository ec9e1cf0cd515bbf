"""What a run works on: training, validation and test images, auxiliary outliers, outlier test sets, class counts.

`published` makes the tasks of the original, `registry` those of own data, and any by its name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from ood_shared.errors import InputError

from imood.data.images import Images
from imood.data.inputs import Inputs
from imood.data.user_data import PREFIXES, read_outliers
from imood.data.views import Views

SYNTHETIC = ("VOS", "NPOS")  # outliers are made of features, there are no images


@dataclass(frozen=True)
class Source:
    """Where data lie and how they are read.

    Attributes:
        dataset: `--ds`.
        root: `$DATA`.
        ratio: `--imbalance_ratio`; None leaves own data as they are.
        model: network, which decides the size of own images.
        device: where resident images go.
        workers: threads or processes that read files.
        id_class_number: classes of ImageNet.
        num_ood_samples: TinyImages that are used.
        aux_kind: `--ood_aux_dataset`.
        aux: `--ood_aux`, a name or path that replaces it.
        ood_test: `--ood_test`, names and paths that replace the outlier test sets.
    """

    dataset: str
    root: Path
    ratio: float | None
    model: str
    device: torch.device
    workers: int = 0
    id_class_number: int = 1000
    num_ood_samples: int = 30000
    aux_kind: str = "TinyImages"
    aux: str | None = None
    ood_test: str | None = None


@dataclass(frozen=True)
class OutlierSet:
    """Outlier test images; a label of -1 is truly OOD, from 0 on the image shows an ID class."""

    name: str
    load: Callable[[], Images]


@dataclass(frozen=True)
class Task:
    """One benchmark. Images are read when they are asked for.

    Attributes:
        counts: training images of each class.
        layout: form of the result files: `scood`, `single` (one set, truncated counts) or `own`.
        views: of training images.
        inputs: of the others: their views, how other sizes are brought to theirs, and the names of the classes.
        train: long-tailed training images.
        val: images for the evaluation after each epoch.
        test: ID test images.
        aux: auxiliary outliers; None where they are made of features.
        outliers: outlier test sets.
        notes: facts about the data that a result shall name.
    """

    name: str
    counts: list[int]
    layout: str
    views: Views
    inputs: Inputs
    train: Callable[[], Images]
    val: Callable[[], Images]
    test: Callable[[], Images]
    aux: Callable[[], Images] | None
    outliers: list[OutlierSet]
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.counts)

    @property
    def test_views(self) -> Views:
        """Of validation and test images."""
        return self.inputs.views


def aux_images(source: Source, views: Views, published: Callable[[], Images]) -> Callable[[], Images] | None:
    """Auxiliary outliers: none for features, those of `--ood_aux`, or the benchmark's own."""
    if source.aux_kind in SYNTHETIC:
        return None
    if source.aux is None:
        return published
    name = source.aux
    return lambda: read_outliers(name, source.root, views.side, source.device, ("train", "test"))


def named_outliers(source: Source, views: Views) -> list[OutlierSet]:
    """The sets of `--ood_test`; none when the flag is not given."""

    def named(name: str, where: str) -> OutlierSet:
        return OutlierSet(name, lambda: read_outliers(where, source.root, views.side, source.device, ("test",)))

    return [named(*pair) for pair in parse_outliers(source.ood_test)] if source.ood_test else []


def parse_outliers(text: str) -> list[tuple[str, str]]:
    """(name, where) of each set of `--ood_test name=PATH,…`; a name of ood_shared needs no path.

    Raises:
        InputError: no set, or a name twice.
    """
    pairs = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, where = word.partition("=")
        pairs.append((name, where) if equals else (_short(word), word))
    names = [name for name, _ in pairs]
    if not names or len(set(names)) != len(names):
        raise InputError(f"--ood_test `{text}` names no set, or one more than once. Pass name=PATH,name=PATH.")
    return pairs


def _short(where: str) -> str:
    for prefix in PREFIXES:
        where = where.removeprefix(f"{prefix}:")
    return Path(where).name.split(".")[0] or where

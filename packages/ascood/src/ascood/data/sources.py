"""An ID set with its splits, the near and far OOD sets, and the sizes of the images."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ascood.data.preprocessing import Chain
from ascood.data.samples import Samples


@dataclass(frozen=True)
class Source:
    """A set that is read when it is needed."""

    name: str
    load: Callable[[], Samples]
    raw: bool = False  # stored as the network sees it


@dataclass(frozen=True)
class Suite:
    """An ID set and what it is tested against.

    Attributes:
        name: of the ID set.
        classes: number of ID classes.
        network: backbone that the published checkpoints of this set have.
        chain: of the evaluation.
        id_sets: train, val and test.
        near, far, csid: OOD sets, and covariate-shifted ID sets, in order.
        ood_val: OOD set of the hyper-parameter search; None when there is none.
        resized_first: whether images come from `ood_shared.datasets`, at `pre_size`, before the chain sees them.
        class_names: of the ID classes; empty where they are not known.
    """

    name: str
    classes: int
    network: str
    chain: Chain
    id_sets: dict[str, Source]
    near: list[Source]
    far: list[Source]
    csid: list[Source] = field(default_factory=list)
    ood_val: Source | None = None
    resized_first: bool = False
    class_names: tuple[str, ...] = ()


def default_network(image_size: int) -> str:
    """The backbone of own data by the size of its images."""
    return "resnet18_32x32" if image_size <= 64 else "resnet18_224x224"

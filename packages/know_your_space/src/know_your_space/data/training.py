"""The two parts of a set that a training sees."""

from dataclasses import dataclass

from ood_shared import distributed
from ood_shared.errors import InputError

from know_your_space.data.options import DataOptions
from know_your_space.data.parts import Part, load_parts
from know_your_space.data.source import locate


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The two parts that a run sees.

    Attributes:
        train: to train on.
        val: to validate on.
        stored: whether images were brought to the size in which the commands keep them; else to the network's at once.
    """

    train: Part
    val: Part
    stored: bool = True

    def __post_init__(self) -> None:
        """Refuse parts that the network could not tell apart or take.

        Raises:
            InputError: images of different sizes.
        """
        if self.train.images.shape[1:] != self.val.images.shape[1:]:
            raise InputError(
                f"{self.train.name}: training images are {tuple(self.train.images.shape[2:])} pixels, validation "
                f"images {tuple(self.val.images.shape[2:])}; expected one size."
            )

    def crc32(self) -> list[int]:
        """Fingerprints, to notice that a resumed run sees other data."""
        return [self.train.crc32(), self.val.crc32()]


def training_data(in_dataset: str, where: DataOptions) -> TrainingData:
    """Training and validation part of a set.

    Args:
        in_dataset: its name or path.
        where: sets lie and how they are split.

    Raises:
        InputError: as `load_parts`; or a single known class that nobody asked for.
    """
    if distributed.is_main():
        locate(in_dataset, where)  # one process downloads
    distributed.wait_for_all()
    parts = load_parts(in_dataset, ("train", "val"), where)
    train = parts["train"]
    if train.n_classes < 2 and where.split_file is None and where.novel_classes is None:
        raise InputError(
            f"The training part of {in_dataset} has one class only ({train.classes[0]}), so there is nothing "
            "to classify. If one known class is meant, say so with --split_file or --novel_classes."
        )
    return TrainingData(train, parts["val"])

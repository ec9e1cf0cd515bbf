"""What a long training is: its commands, how long they take, what they need and leave. Of the standard library alone.

A command's words are filled with {data} (folder of the data sets), {own} (the training's folder) and {other} (that of
the training it follows); `copy A B` copies a folder.
"""

from dataclasses import dataclass
from pathlib import Path

RESULT = "result.json"
MNISTS = ("MNIST/raw", "FashionMNIST/raw")


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        name: of its folder.
        package: whose code runs, in whose folder of the clone.
        what: for people.
        paper: network and schedule of the paper.
        here: those of the commands.
        hours: of one thread of a two-core CPU; None where it takes a GPU and was not measured.
        commands: in order.
        result: file in its folder.
        keep: name of the file below the package's `results` that the result is copied to; None keeps nothing.
        after: name of a training whose files it needs.
        needs: what the folder of the data sets must hold for it; `a|b` is one of the two.
        unit: of what its runs count.
    """

    name: str
    package: str
    what: str
    paper: str
    here: str
    hours: float | None
    commands: tuple[str, ...]
    result: str = RESULT
    keep: str | None = None
    after: str | None = None
    needs: tuple[str, ...] = ()
    unit: str = "epochs"

    @property
    def needs_data(self) -> bool:
        """Whether a command reads the folder of the data sets."""
        return any("{data}" in command for command in self.commands)

    def lacking(self, data: Path) -> list[str]:
        """What of `needs` a folder does not hold."""
        return [words for words in self.needs if not any((data / word).exists() for word in words.split("|"))]

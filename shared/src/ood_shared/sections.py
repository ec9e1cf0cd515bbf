"""What a report is made of: texts, tables that sort and that a slider changes, figures, galleries of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure


@dataclass(frozen=True)
class Text:
    """Paragraphs; `code` keeps line breaks and uses a fixed-width font (settings, the end of a log).

    `command` stands below them in that font, to be copied. With `folded`, only the title shows until it is clicked;
    paper shows all.
    """

    title: str
    paragraphs: Sequence[str]
    code: bool = False
    folded: bool = False
    command: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell that sorts by `key`: `1 min 5 s` comes after `20 s`. None sorts last.

    `tint` from 0 to 1 colours it, the more the deeper. `stops` are its texts at the positions of the table's slider.
    """

    text: str
    key: float | None
    tint: float | None = None
    stops: Sequence[str] = ()


@dataclass(frozen=True)
class Slider:
    """Changes the texts of a table's cells. Without scripts, the cells show `text`, which is that of `start`.

    Attributes:
        label: what is set.
        stops: the positions, in words.
        start: position at first.
    """

    label: str
    stops: Sequence[str]
    start: int


@dataclass(frozen=True)
class Table:
    """A table. The first line of a cell is shown large, further lines small below it (a value and its interval).

    With `grouped`, rows that share their first cell stand together under it as a heading, which saves the column. With
    `sortable`, a click on a column's head sorts by it, within the groups. Columns of numbers go by the number that a
    cell begins with, or by its key, and begin with the largest; where the head has a `↓`, with the least.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""
    grouped: bool = False
    sortable: bool = False
    slider: Slider | None = None


@dataclass(frozen=True)
class Figure:
    """A picture: the bytes of a PNG file, or a matplotlib figure, which is drawn and released.

    `alternative` describes it to those who do not see it; the title serves when it is empty. With `folded`, only the
    title shows until it is clicked; paper shows all.
    """

    title: str
    image: "bytes | matplotlib.figure.Figure"
    caption: str = ""
    alternative: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A small picture, shown enlarged pixel by pixel: the bytes of a PNG file, lines below it, and a description."""

    image: bytes
    caption: str
    alternative: str


@dataclass(frozen=True)
class Gallery:
    """Rows of small pictures. The first line of a row's heading is shown large, further lines small.

    With `folded`, only the title shows until it is clicked; paper shows all.
    """

    title: str
    rows: Sequence[tuple[str, Sequence[Picture]]]
    note: str = ""
    folded: bool = False


Section = Text | Table | Figure | Gallery

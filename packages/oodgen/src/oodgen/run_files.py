"""Running means and the text logs of the commands.

A log line is one record: values separated by one blank, `{:03d}` for whole numbers, `{:.4f}` for others, text verbatim.

>>> format_row([1, 0.821049])
'001 0.8210'
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from ood_shared.errors import InputError
from ood_shared.files import write_text
from torch import Tensor

LogValue = int | float | str


class RunningMean:
    """Weighted mean of what it is given: sum(n v) / sum(n).

    Tensors are summed where they live and read back only when a figure is asked for, so that a loop on a GPU does not
    wait for every batch.
    """

    def __init__(self, count: int = 0, last: float = 0.0, total: float = 0.0, squares: float = 0.0) -> None:
        self.count = count
        self._last: float | Tensor = last
        self._sum: float | Tensor = total
        self._squares: float | Tensor = squares

    def state(self) -> dict[str, int | float]:
        """Plain numbers for a checkpoint; `RunningMean(**state)` goes on from there."""
        return {"count": self.count, "last": self.val, "total": self.sum, "squares": float(self._squares)}

    def update(self, value: float | Tensor | None, n: int = 1) -> None:
        """Add `value` with weight `n` (the batch size). None is skipped."""
        if value is None:
            return
        if isinstance(value, Tensor):
            value = value.detach()
            value = value if value.device.type == "mps" else value.double()  # Metal has no float64
        self._last = value
        self._sum = self._sum + value * n
        self._squares = self._squares + value * value * n
        self.count += n

    @property
    def val(self) -> float:
        """The last value."""
        return float(self._last)

    @property
    def sum(self) -> float:
        """Sum of n v."""
        return float(self._sum)

    @property
    def avg(self) -> float:
        """The mean so far; 0 before the first value."""
        return self.sum / self.count if self.count else 0.0

    @property
    def std(self) -> float:
        """Population standard deviation; rounding noise below 0 is cut."""
        if not self.count:
            return 0.0
        variance = float(self._squares) / self.count - self.avg**2
        return 0.0 if variance < 0 else float(variance**0.5)  # NaN stays NaN


def format_row(values: Sequence[LogValue]) -> str:
    """One record as text, without the newline.

    Raises:
        InputError: a value is neither int, float nor text (tensors, NumPy's own numbers and truth values are not), or a
            text holds a line break.
    """
    return " ".join(_format(value) for value in values)


def write_log(path: Path, rows: Sequence[Sequence[LogValue]]) -> None:
    """Write a log, one line per record, replacing the file as a whole: a killed run leaves no half line.

    Raises:
        InputError: a value cannot be written (`format_row`), or the records differ in their number of values.
    """
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise InputError(f"{path}: records of {' and '.join(map(str, sorted(widths)))} values do not fit one log.")
    write_text(path, "".join(format_row(row) + "\n" for row in rows))


def _format(value: LogValue) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        what = "a tensor" if isinstance(value, torch.Tensor) else type(value).__name__
        raise InputError(f"A log holds int, float and text, got {what} ({value!r}). Convert it, e.g. with .item().")
    if isinstance(value, str):
        if "\n" in value or "\r" in value:
            raise InputError(f"A text in a log must not hold a line break, got {value!r}.")
        return value
    return f"{value:03d}" if isinstance(value, int) else f"{value:.4f}"

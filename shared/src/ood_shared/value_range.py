"""`--value-range LOW,HIGH`: which values of images of more than 8 bits become 0 and 255. Without torch, for flags."""

import re
from typing import NamedTuple

from ood_shared.errors import InputError

RANGE_FLAG = "--value-range"


class Range(NamedTuple):
    """Which values of images of more than 8 bits become 0 and 255; what lies outside is cut off."""

    low: float
    high: float


FULL_16 = Range(0, 65535)


def parse_range(text: str) -> Range:
    """`LOW,HIGH` of `--value-range`.

    Raises:
        InputError: not two finite numbers, or the second is not the larger.

    >>> parse_range("-1000,400")
    Range(low=-1000.0, high=400.0)
    """
    parts = text.split(",")
    number = r"\s*[-+]?(\d{1,12}(\.\d{0,12})?|\.\d{1,12})\s*"
    if len(parts) == 2 and all(re.fullmatch(number, part, re.ASCII) for part in parts):
        found = Range(*(float(part) for part in parts))
        if found.low < found.high:
            return found
    raise InputError(f"{RANGE_FLAG} `{text[:60]}`: expected LOW,HIGH, two numbers, the second the larger.")

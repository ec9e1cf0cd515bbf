"""Examples in docstrings as code on the documentation site; an extension of griffe (`mkdocs.yml`).

The docstrings of the project end with plain doctests, without a heading `Examples:` before them.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?!\s*\n).*)*", re.M)  # up to the next empty line


class Doctests(griffe.Extension):
    """Put a fence around every doctest."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """As griffe calls it, for every module, class and function."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    return f"{found[1]}```pycon\n{found[0]}\n{found[1]}```"

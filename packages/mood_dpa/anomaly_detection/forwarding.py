"""Names of one module that stand in others, loaded when they are first asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def forward(name: str, *sources: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a module that gives the public names of others.

    Args:
        name: of the module.
        sources: modules whose names it gives; of two with the same name the first counts.

    Example:
        __getattr__, __dir__ = forward(__name__, "mood_dpa.vgg")
    """

    def get(attribute: str) -> Any:
        if not attribute.startswith("_"):
            for source in sources:
                module = import_module(source)
                if hasattr(module, attribute):
                    return getattr(module, attribute)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}; it gives what {', '.join(sources)} has")

    def names() -> list[str]:
        found = {key for source in sources for key in vars(import_module(source)) if not key.startswith("_")}
        return sorted(found)

    return get, names

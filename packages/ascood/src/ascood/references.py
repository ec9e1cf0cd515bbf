"""References in config values: `@{a.b}` as a whole value, `'@{a.b}'` in quotes inside a text."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from ood_shared.errors import InputError, did_you_mean

WHOLE = re.compile(r"@\{([^{}]+)\}")
QUOTED = re.compile(r"'@\{([^{}]+)\}'")


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """The config with every reference replaced by what it points at, followed to the end.

    Only text values of mappings are looked at, not the items of lists.

    Raises:
        InputError: a reference to a key that is not there, or a circle of references.
    """
    return {key: _value(value, config, (key,)) for key, value in config.items()}


def _value(value: Any, config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """`path` is the chain of keys that led here, to find circles."""
    if isinstance(value, Mapping):
        return {key: _value(inner, config, (*path[:-1], f"{path[-1]}.{key}")) for key, inner in value.items()}
    if not isinstance(value, str):
        return copy.deepcopy(value)
    whole = WHOLE.fullmatch(value)
    if whole:
        return _follow(whole[1], config, path)
    return QUOTED.sub(lambda match: str(_follow(match[1], config, path)), value)


def _follow(key: str, config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for before in path:
        if before == key or before.startswith(f"{key}."):
            raise InputError(f"References go in a circle: {' -> '.join((*path, key))}.")
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise InputError(f"`{path[-1]}` refers to `{key}`, which is not there. {did_you_mean(key, _names(config))}")
        value = value[part]
    return _value(value, config, (*path, key))


def _names(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in config.items():
        names += _names(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return names

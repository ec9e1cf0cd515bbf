"""Configuration files: read safely, shipped ones included, merged and written."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mood_dpa.shipped import with_shipped
from mood_dpa.standalone import InputError, MissingFileError, one_line, read_yaml, write_text

Config = dict[str, Any]


def read_config(path: Path | str) -> Config:
    """The content of a configuration file, of a shipped one where there is none at the path.

    Raises:
        MissingFileError: it is in neither place.
        InputError: it is no YAML, holds a key twice, or is no mapping.
    """
    path = with_shipped(Path(path))
    if not path.exists():
        raise MissingFileError(f"Configuration {path} is missing.")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, expected keys and values.")
    return content


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration; empty entries stay empty."""
    write_text(path, config_text(config))


def config_text(config: Mapping[str, Any]) -> str:
    """The YAML text of a configuration, in the order of its keys, `None` as an empty entry, lists on one line."""
    text: str = yaml.dump(_plain(config), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return text


def merge(base: Any, overrides: Mapping[str, Any], what: str = "the configuration") -> Any:
    """The base with overrides: mappings merge key by key, anything else replaces.

    >>> merge({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]})
    {'a': {'b': 1, 'd': 2}, 'c': [2]}

    Args:
        base: is not changed.
        overrides: take precedence.
        what: the base is, for messages.

    Raises:
        InputError: a mapping would replace a number, a text or a list.
    """
    if base is None:
        return copy.deepcopy(dict(overrides))
    if not isinstance(base, Mapping):
        wanted = ", ".join(map(str, overrides))
        raise InputError(f"{what} is {one_line(repr(base), 60)}; expected keys and values ({wanted}), or nothing.")
    merged = copy.deepcopy(dict(base))
    for key, value in overrides.items():
        if isinstance(value, Mapping) and key in merged:
            merged[key] = merge(merged[key], value, f"`{key}`")
        else:
            merged[key] = copy.deepcopy(value)
    return merged


class _Dumper(yaml.SafeDumper):
    """Empty for None, lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", ""))


def _list(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    flat = not any(isinstance(entry, dict | list) for entry in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_Dumper.add_representer(list, _list)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value

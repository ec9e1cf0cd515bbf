"""The config system: several yml files, dotted overrides, references, and the name of the output folder.

    load_config(["a.yml", "b.yml"], ["--optimizer.lr", "0.01"])

Files are merged leaf by leaf from left to right; then overrides take the type of the value that they replace; then
`@{a.b}` is replaced by what the key a.b holds, with its type, and `'@{a.b}'` (with the quotes) inside a longer text by
its text; at last `output_dir` becomes output_dir/exp_name.

Differences from the original: references of references are followed to the end, and cycles are errors (it copied them
one step behind); a list takes a YAML-style list, `--a.b '[1, 2]'`; an override may hold a colon, and ends in a type
only when a known type follows the last one.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ood_shared.errors import InputError, MissingFileError, did_you_mean, one_line
from ood_shared.files import parse_yaml, read_yaml
from ood_shared.flags import MOST

from ascood.references import resolve as resolve

DELETE = "_DELETE_CONFIG_"
RESERVED = (
    *("all_keys", "all_values", "all_items", "parse_args", "parse_refs", "__init__", "__getattr__", "__setattr__"),
    *("__getitem__", "__setitem__", "__contains__", "__str__", "__repr__", "__delitem__", "__delattr__"),
)
TYPES = ("int", "float", "str", "bool", "list")

Tree = dict[str, Any]


def load_config(files: Sequence[Path | str], overrides: Sequence[str] = ()) -> Tree:
    """Merge, override, resolve, and join the output folder's name.

    Args:
        files: yml files, the later ones winning.
        overrides: `--dotted.key value` or `--dotted.key=value`.

    Raises:
        MissingFileError: a file is not there.
        InputError: anything else that cannot be read or does not fit; the message names it.
    """
    merged: Tree = {}
    for file in files:
        merge(merged, read_yml(find_file(file)))
    apply_overrides(merged, overrides)
    config: Tree = resolve(merged)
    if "output_dir" in config and "exp_name" in config:
        config["output_dir"] = joined(str(config["output_dir"]), str(config["exp_name"]))
    return config


def joined(folder: str, name: str) -> str:
    """folder/name as text: a leading ./ stays, which a Path would drop."""
    return name if name.startswith("/") else f"{folder.rstrip('/') if folder != '/' else ''}/{name}"


def find_file(file: Path | str) -> Path:
    """The yml file where the user says it is, else the one of that name that the package ships.

    Raises:
        MissingFileError: it is in neither place; the nearest shipped name is told.
    """
    text = str(file)
    if not text.endswith(".yml"):
        raise InputError(f"--config `{text}` does not end in .yml; expected one or more yml files.")
    shipped = shipped_configs()
    for candidate in (Path(text), shipped / Path(*Path(text).parts[1:]) if Path(text).parts[0] == "configs" else None):
        if candidate is not None and candidate.exists():
            return candidate
    known = sorted(str(Path("configs") / path.relative_to(shipped)) for path in shipped.rglob("*.yml"))
    raise MissingFileError(f"--config {text} is missing. {did_you_mean(text.removeprefix('./'), known, shown=6)}")


def shipped_configs() -> Path:
    """The folder `configs` that comes with the package: inside it when installed, beside `src` in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "configs" if (here / "configs").is_dir() else here.parents[1] / "configs"


def read_yml(path: Path) -> Tree:
    """A yml file as nested mappings; dotted keys are nested, duplicate keys are errors."""
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected keys and values.")
    return _nested(content, str(path))


def merge(into: Tree, other: Mapping[str, Any]) -> None:
    """Put `other` over `into`, leaf by leaf; lists are replaced whole, `_DELETE_CONFIG_` removes a key."""
    for key, value in other.items():
        if value == DELETE and key in into:
            del into[key]
        elif isinstance(value, Mapping) and value and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, Mapping):
            into[key] = {}
            merge(into[key], value)
        else:
            into[key] = value


def apply_overrides(config: Tree, words: Sequence[str]) -> None:
    """Set the keys that the words name, in order; each must exist.

    Raises:
        InputError: a word that is no override, an unknown key (with the nearest one), or a value of another type.
    """
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if not word.startswith("--") or word.startswith("---") or word == "--":
            raise InputError(f"`{word}` is not an override; expected --dotted.key value.")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not remaining or (remaining[0].startswith("--") and remaining[0] != "--"):
                raise InputError(f"--{key} has no value; expected --{key} value.")
            text = remaining.pop(0)
        elif "=" in text:
            raise InputError(f"`{word}` has a second `=`; write --{key} '{text}' with a space instead.")
        _set(config, key, text)


def get(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """What a dotted key holds; `default` when it or something above it is absent."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def switch(config: Mapping[str, Any], key: str, default: bool) -> bool:
    """The true or false that a dotted key holds.

    Raises:
        InputError: it holds something else; a text such as "no" is none of them.
    """
    value = get(config, key, default)
    if not isinstance(value, bool) and value not in (0, 1):
        raise InputError(f"{key} is {one_line(repr(value), 80)}; expected true or false.")
    return bool(value)


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """Dotted names of all keys that hold no mapping."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def dump(config: Mapping[str, Any]) -> str:
    """The config as plain YAML, in merge order."""
    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def cast(text: str, like: Any, key: str) -> Any:
    """The text as the type of the value that it replaces, or as the type named after its last colon."""
    head, colon, tail = text.rpartition(":")
    kind = tail if colon and tail in TYPES else None
    if kind is not None:
        text = head
    elif like is None:
        raise InputError(f"--{key} replaces an empty value; say its type, as in --{key} {text}:int.")
    else:
        kind = type(like).__name__
    if kind == "bool":
        if text not in ("true", "True", "1", "false", "False", "0"):
            raise InputError(f"--{key} `{text}` is not a truth value; expected True or False.")
        return text in ("true", "True", "1")
    if kind == "list":
        return _as_list(text, key)
    if kind == "str":
        return text
    try:
        value = int(text) if kind == "int" else float(text)
        if not abs(value) <= (MOST if kind == "int" else sys.float_info.max):
            raise ValueError
    except ValueError:
        expected = f"a whole number up to {MOST}" if kind == "int" else "a finite number"
        raise InputError(
            f"--{key} `{one_line(text, 80)}` is not {expected}, as the value {like!r} that it replaces."
        ) from None
    return value


def _as_list(text: str, key: str) -> list[Any]:
    try:
        value = parse_yaml(text, f"--{key}")
    except InputError:
        value = None
    if not isinstance(value, list):
        raise InputError(f"--{key} `{text}` is not a list; expected the form '[1, 2]'.")
    return value


def _set(config: Tree, key: str, text: str) -> None:
    *above, last = key.split(".")
    block: Any = config
    for part in above:
        block = block.get(part) if isinstance(block, dict) else None
    if not isinstance(block, dict) or last not in block:
        raise InputError(f"--{key} is not a key of the config. {did_you_mean(key, sorted(leaves(config)), shown=8)}")
    if isinstance(block[last], dict):
        raise InputError(f"--{key} holds several keys; name one of them: {', '.join(block[last])}.")
    block[last] = cast(text, block[last], key)


def _nested(content: Mapping[Any, Any], where: str) -> Tree:
    tree: Tree = {}
    for key, value in content.items():
        *above, last = str(key).split(".")
        for part in (*above, last):
            if part in RESERVED:
                raise InputError(f"{where}: the key `{part}` is reserved; choose another name.")
        value = _nested(value, where) if isinstance(value, Mapping) else value
        for part in reversed(above):
            last, value = part, {last: value}
        merge(tree, {last: value})
    return tree

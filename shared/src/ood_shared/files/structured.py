"""JSON and YAML for the whole project: plain values only, no key twice, nothing that grows when it is read."""

import json
import math
import re
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ood_shared.errors import InputError, one_line
from ood_shared.files.reading import has_half_characters, passes, read_text, reason_of

MAX_YAML = 1 << 22  # 4 MiB
MOST_VALUES = 200_000  # of a YAML file, aliases counted as often as they are used
DEEPEST = 64  # levels of nesting of a YAML file
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path, advice: str = "Delete it and run the step that writes it again.") -> Any:
    """The content of a JSON file.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is not JSON; see `parse_json`.
    """
    return parse_json(read_text(path, "JSON"), path, advice)


def parse_json(text: str, source: object, advice: str = "Delete it and run the step that writes it again.") -> Any:
    """The value of a JSON text.

    Raises:
        InputError: it is not JSON, holds a key twice, NaN or an infinity, or is nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # of the digits of a number and of half characters, too
        raise InputError(f"{source} is not valid JSON ({reason_of(error)}). {advice}") from error
    return value


def read_yaml(path: Path, advice: str = "Mend that line.") -> Any:
    """The content of a YAML file; None for an empty one.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is not YAML; see `parse_yaml`.
    """
    return parse_yaml(read_text(path, "YAML", MAX_YAML), path, advice)


def parse_yaml(text: str, source: object, advice: str = "Mend that line.") -> Any:
    """The value of a YAML text: mappings, lists, text, finite numbers, dates, true, false and nothing.

    Raises:
        InputError: it is not YAML, holds a key twice, a value that its type does not have, objects of a program, is
            nested too deeply, or grows by aliases.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        reason = where + one_line(error.problem or error.context or error, 160)
        raise InputError(f"{source} is not valid YAML ({reason}). {advice}") from error
    except Exception as error:
        if passes(error):
            raise
        raise InputError(f"{source} is not valid YAML ({reason_of(error)}). {advice}") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """The safe loader, bounded, strict about keys, and with the line of whatever it refuses."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # of the composed nodes, with what their aliases stand for

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _refused(f"it is nested deeper than {DEEPEST} levels", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._sizes:
            self._sizes[id(node)] = self._size(node)
        return node

    def _size(self, node: yaml.Node) -> int:
        """How many values a node stands for; a node that holds itself is not finished when it is met inside."""
        inner = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        if any(id(part) not in self._sizes for part in inner):
            raise _refused("an alias stands for what it is part of", node.start_mark)
        size = 1 + sum(self._sizes[id(part)] for part in inner)
        if size > MOST_VALUES:
            raise _refused(f"it stands for more than {MOST_VALUES} values", node.start_mark)
        return size

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # the constructors of numbers and dates raise whatever int() and date() do
            if passes(error):
                raise
            kind = node.tag.rsplit(":", 1)[-1]
            why = f": {error}" if isinstance(error, ValueError) else ""  # others speak of yaml's own code
            raise _refused(f"`{one_line(node.value, 40)}` is no {kind}{why}", node.start_mark) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(f"`{one_line(node.value, 40)}` is not a finite number", node.start_mark)
        if isinstance(value, str) and has_half_characters(value):
            raise _refused("a text holds half a character", node.start_mark)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or isinstance(key, tuple):
                raise _refused("a key is a list or a mapping", key_node.start_mark)
            if key in seen:
                raise _refused(f"the key `{one_line(key, 40)}` stands twice", key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return mapping


def _refused(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key `{one_line(twice, 40)}` stands twice")
    return found


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{one_line(text, 40)} is not a finite number")
    return value

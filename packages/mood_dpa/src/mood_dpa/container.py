"""Stand-ins for `ood_shared` in the challenge's container, which holds this package's folder only.

They say the same in fewer words; `standalone` chooses between both.
"""

import argparse
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

MOST_TEXT = 1 << 22  # bytes of a configuration


class InputError(ValueError):
    """Bad input that the user can correct."""


class MissingFileError(InputError):
    """A file that is needed is not there."""


class Parser(argparse.ArgumentParser):
    """Errors in one line, exit status 2."""

    def error(self, message: str) -> Any:
        """Print one line and leave."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--version`."""
    parser.add_argument("--version", action=_Version, nargs=0, dest=argparse.SUPPRESS, help="show the version")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> Any:
        parser.exit(0, f"mood-dpa {metadata.version('mood-dpa')}\n")


def one_line(text: object, most: int = 500) -> str:
    """The text on one line of at most `most` characters."""
    return " ".join(str(text).split())[:most]


def did_you_mean(word: str, known: Iterable[str], shown: int = 12) -> str:
    """The known words."""
    return f"Known: {', '.join(list(known)[:shown])}."


def unknown(what: str, found: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known."""
    return InputError(f"{what} `{found}` is not known. {did_you_mean(found, known)}")


@contextmanager
def reading(path: object, what: str, advice: str = "Make or fetch it again.") -> Iterator[None]:
    """Turn whatever a library raises inside the block into one line about `path`."""
    try:
        yield
    except (InputError, MemoryError, PermissionError):
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{error.filename or path} is missing.") from error
    except Exception as error:
        words = one_line(error, 160) or type(error).__name__
        raise InputError(f"{path} is damaged or no {what} ({words}). {advice}") from error


def regular(path: Path, limit: int | None = None, what: str = "") -> os.stat_result:
    """The status of a regular file of at most `limit` bytes; anything else is refused before it is opened."""
    wanted = f"; expected {what}" if what else ""
    if not path.exists():
        raise MissingFileError(f"{path} is missing{wanted}.")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file{wanted}.")
    if limit is not None and status.st_size > limit:
        raise InputError(f"{path} has {status.st_size} bytes; at most {limit} are read{wanted}.")
    return status


def check_name(name: str, where: object = "") -> None:
    """Refuse a name that could not be printed or written."""
    if any("\ud800" <= letter <= "\udfff" or letter in "\n\r" for letter in name):
        raise InputError(f"{where}: the name {name!a} is not UTF-8 on one line. Rename it.")


def refuse_same_folder(output: Path, *inputs: Path, flag: str = "the output folder") -> None:
    """Refuse an output folder that is one of the inputs, or holds what links in them lead to."""
    links = [link.resolve() for path in inputs if path.is_dir() for link in path.iterdir() if link.is_symlink()]
    if output.resolve() in [*(path.resolve() for path in inputs), *(link.parent for link in links)]:
        raise InputError(
            f"{flag} {output} is the folder of the input; its files would be overwritten. Choose another folder."
        )


def read_yaml(path: Path, advice: str = "Mend that line.") -> Any:
    """The content of a YAML file: plain values; a key that stands twice is refused."""
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, strict about keys."""

    def mapping(loader: Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if key in found:
                raise InputError(f"{path}, line {key_node.start_mark.line + 1}: the key `{key}` stands twice.")
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    regular(path, MOST_TEXT, "YAML")
    with reading(path, "YAML", advice):
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader)  # noqa: S506 - a SafeLoader


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling that takes the name `path` at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:100]}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def run_command(
    command: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run, turn bad input into one line and exit status 2."""
    options = parser.parse_args(argv)
    try:
        return command(options) or 0
    except (InputError, OSError) as error:
        if getattr(options, "debug", False):
            raise
        print(f"{parser.prog}: error: {one_line(error)}", file=sys.stderr)
        return 2


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors, plain values and the NumPy numbers of old files; never code."""
    import numpy as np
    import torch

    regular(path, what="a checkpoint")
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    allowed: list[Any] = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType, scalar]
    with (
        torch.serialization.safe_globals([*allowed, (scalar, "numpy.core.multiarray.scalar")]),
        reading(path, "checkpoint"),
    ):
        return dict(torch.load(path, map_location="cpu", weights_only=True))


def read_weights(path: Path) -> dict[str, Any]:
    """The tensors of a file, bare or under `state_dict`, without `module.` in front of their names."""
    import torch

    state = load_checkpoint(path)
    state = state.get("state_dict", state)
    tensors = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise InputError(f"{path} holds no weights.")
    return tensors


def check_weights(module: Any, weights: Any, source: object) -> None:
    """Refuse a state dict that is not exactly the module's, or not of finite numbers."""
    import torch

    expected = module.state_dict()
    for key, tensor in expected.items():
        value = weights.get(key) if isinstance(weights, dict) else None
        if not isinstance(value, torch.Tensor) or value.shape != tensor.shape:
            raise InputError(f"{source} does not fit this network: `{key}` is missing or of another shape.")
        if not value.is_floating_point() == tensor.is_floating_point() or value.is_complex():
            raise InputError(f"{source}: `{key}` is of {value.dtype}, expected {tensor.dtype}.")
        if value.layout != torch.strided or value.device.type == "meta" or not bool(value.isfinite().all()):
            raise InputError(f"{source}: `{key}` is not dense or not finite. Take another file.")
        if key.endswith("running_var") and bool((value < 0).any()):
            raise InputError(f"{source}: `{key}` holds variances below 0. Take another file.")

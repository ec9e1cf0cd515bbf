"""What the prediction path takes from `ood_shared`, and does by itself where that is not installed.

`docker build .` sees this package's folder only, so the challenge's container has no `ood_shared`. Everything that
`predict_3d` imports takes these names from here; in a checkout they are `ood_shared`'s own.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = [
    "InputError",
    "MissingFileError",
    "Parser",
    "atomic_path",
    "autocast",
    "did_you_mean",
    "load_checkpoint",
    "resolve_device",
    "run_command",
    "unknown",
    "warn_of_slow_bf16",
    "write_text",
]

if TYPE_CHECKING:
    import torch

try:
    from ood_shared.cli import Parser, run_command
    from ood_shared.errors import InputError, MissingFileError, did_you_mean, unknown
    from ood_shared.files import atomic_path, write_text
except ImportError:  # the challenge's container

    class InputError(ValueError):  # type: ignore[no-redef]
        """Bad input that the user can correct."""

    class MissingFileError(InputError):  # type: ignore[no-redef]
        """A file that is needed is not there."""

    class Parser(argparse.ArgumentParser):  # type: ignore[no-redef]
        """Errors in one line, exit status 2."""

        def error(self, message: str) -> Any:
            """Print one line and leave."""
            self.exit(2, f"{self.prog}: error: {message}\n")

    def did_you_mean(word: str, known: Iterable[str], shown: int = 12) -> str:
        """The known words."""
        return f"Known: {', '.join(list(known)[:shown])}."

    def unknown(what: str, found: str, known: Iterable[str]) -> InputError:
        """The error for a name that is not known."""
        return InputError(f"{what} `{found}` is not known. {did_you_mean(found, known)}")

    @contextmanager
    def atomic_path(path: Path) -> Iterator[Path]:
        """A temporary sibling that takes the name `path` at the end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
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
            print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors and plain values, and the NumPy numbers that old files hold; never code.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is damaged or holds other objects.
    """
    import numpy as np
    import torch

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    allowed: list[Any] = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
    old_name = (scalar, "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([*allowed, scalar, old_name]):
        try:
            from ood_shared import checkpoints
        except ImportError:
            if not path.is_file():
                raise MissingFileError(f"Checkpoint {path} is missing.") from None
            try:
                return dict(torch.load(path, map_location="cpu", weights_only=True))
            except Exception as error:
                raise InputError(f"{path} is not a readable checkpoint ({str(error)[:120]}).") from None
        return checkpoints.load(path)


def resolve_device(name: str) -> "torch.device":
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""
    try:
        from ood_shared.devices import resolve_device as shared
    except ImportError:
        import torch

        if name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(name)
    return shared(name)


def warn_of_slow_bf16(device: "torch.device", precision: str) -> None:
    """Say in one line that bf16 is not faster on a CPU without units for it; where that is unknown say nothing."""
    if precision != "bf16" or device.type != "cpu":
        return
    import torch

    tests = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    if platform.machine().lower() not in ("x86_64", "amd64") or None in tests:
        return
    if not any(test() for test in tests if test is not None):
        print(
            "warning: --precision bf16: this CPU has no bf16 units, so it computes slower and less exactly than with "
            "fp32.",
            file=sys.stderr,
        )


def autocast(device: "torch.device", precision: str) -> AbstractContextManager[Any]:
    """Context of forward passes in `fp32`, `bf16` or `fp16`."""
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)

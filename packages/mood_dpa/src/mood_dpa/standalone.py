"""What the prediction path takes from `ood_shared`, or from `container` where that is not installed.

`docker build .` sees this package's folder only, so the challenge's container has no `ood_shared`. Everything that
`predict_3d` imports takes these names from here; in a checkout they are `ood_shared`'s own.
"""

import platform
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = [
    "InputError",
    "MissingFileError",
    "Parser",
    "add_version_flag",
    "atomic_path",
    "autocast",
    "check_name",
    "check_weights",
    "did_you_mean",
    "load_checkpoint",
    "one_line",
    "read_yaml",
    "reading",
    "refuse_same_folder",
    "regular",
    "resolve_device",
    "run_command",
    "unknown",
    "warn_of_slow_bf16",
    "weights_of",
    "write_text",
]

if TYPE_CHECKING:
    import torch

try:
    from ood_shared.cli import Parser, add_version_flag, run_command
    from ood_shared.errors import InputError, MissingFileError, did_you_mean, one_line, unknown
    from ood_shared.files import (
        atomic_path,
        check_name,
        read_yaml,
        reading,
        refuse_same_folder,
        regular,
        write_text,
    )
except ImportError:  # the challenge's container
    from mood_dpa.container import (  # type: ignore[assignment]
        InputError,
        MissingFileError,
        Parser,
        add_version_flag,
        atomic_path,
        check_name,
        did_you_mean,
        one_line,
        read_yaml,
        reading,
        refuse_same_folder,
        regular,
        run_command,
        unknown,
        write_text,
    )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors and plain values, and the NumPy numbers that old files hold; never code.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is damaged or holds other objects.
    """
    try:
        from ood_shared.checkpoints import load
    except ImportError:
        from mood_dpa.container import load_checkpoint as load
    return load(path)


def weights_of(path: Path) -> dict[str, Any]:
    """The tensors of a file, in order: bare, or under `state_dict` or a like name, without `module.` in front.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no checkpoint, or holds no tensors.
    """
    try:
        from ood_shared.checkpoints import read_weights
    except ImportError:
        from mood_dpa.container import read_weights
    return read_weights(path)


def check_weights(module: Any, weights: Any, source: object) -> None:
    """Refuse a state dict that is not exactly the module's, or not of finite numbers; `source` names it in errors.

    Raises:
        InputError: a key is missing, a shape or the kind of number differs, or a value is not finite.
    """
    try:
        from ood_shared.checkpoints import check_weights as check
    except ImportError:
        from mood_dpa.container import check_weights as check
    check(module, weights, source)


def resolve_device(name: str) -> "torch.device":
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""
    try:
        from ood_shared.devices import resolve_device as shared
    except ImportError:
        import torch

        if name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with reading(f"--device {name}", "device", "Pass auto, cpu, cuda or cuda:N."):
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

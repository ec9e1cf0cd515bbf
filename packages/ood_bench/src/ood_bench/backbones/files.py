"""Networks in a file: ONNX, run by onnxruntime, or TorchScript.

Their outputs are taken as they come: maps (n, c, h, w), tokens, or features (n, d), from the first to the last. ONNX
holds no code and is kept inside `model.ood`; TorchScript is code and never is: its file has to be named again.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from ood_shared.errors import InputError, MissingFileError, not_installed
from torch import Tensor, nn

from ood_bench.backbones.backbone import RGB_MEAN, RGB_STD, Inputs
from ood_bench.backbones.hooked import as_map

MOST_BYTES = 1 << 31
DEFAULT_SIDE = 224


class Onnx(nn.Module):
    """A network of onnxruntime, on the CPU; it cannot be exported.

    Args:
        data: (bytes,), of the file.

    Raises:
        InputError: no such network, or the library is missing.
    """

    data: UInt8[Tensor, " bytes"]

    def __init__(self, data: UInt8[Tensor, " bytes"]) -> None:
        super().__init__()
        self.register_buffer("data", data)
        try:
            import onnxruntime
        except ImportError:
            raise not_installed("A network in ONNX", "onnxruntime", "onnx", "ood-bench") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(
                data.cpu().numpy().tobytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no common class
            hint = " Export it with its weights inside (external_data=False)." if "External data" in str(error) else ""
            raise InputError(f"The file is no network in ONNX ({' '.join(str(error).split())[:160]}).{hint}") from None

    def maps(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """All outputs of the network."""
        name = self.session.get_inputs()[0].name
        found = self.session.run(None, {name: np.ascontiguousarray(x.cpu().numpy())})
        return [as_map(torch.from_numpy(np.array(value))) for value in found]

    def inputs(self) -> Inputs:
        """Size and channels as the file gives them; 224 where it leaves the size open."""
        shape: list[Any] = list(self.session.get_inputs()[0].shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise InputError(f"The network takes {shape}; expected images (n, 1 or 3, side, side).")
        if not (shape[2] == shape[3] or isinstance(shape[2], str)):
            raise InputError(f"The network takes images of {shape[3]} x {shape[2]} pixels; expected squares.")
        return usual(shape[2] if isinstance(shape[2], int) else DEFAULT_SIDE, shape[1])


class Scripted(nn.Module):
    """A network in TorchScript.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self.network = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path} is no network in TorchScript ({reason}).") from None

    def maps(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """All outputs of the network."""
        found = self.network(x)
        parts = found if isinstance(found, list | tuple) else [found]
        if not all(isinstance(part, Tensor) for part in parts):
            raise InputError("The network in TorchScript gives other things than tensors; expected maps or features.")
        return [as_map(part) for part in parts]


def usual(side: int, channels: int) -> Inputs:
    """Images normalised as ImageNet's are; grey ones by the mean of the colours."""
    if channels == 1:
        return Inputs(side, 1, (sum(RGB_MEAN) / 3,), (sum(RGB_STD) / 3,))
    return Inputs(side, channels)


def read_bytes(path: Path) -> UInt8[Tensor, " bytes"]:
    """A file as a tensor.

    Raises:
        MissingFileError: it is not there.
        InputError: it is larger than 2 GiB.
    """
    if not path.is_file():
        raise MissingFileError(f"--backbone {path} is missing; expected a file of ONNX or TorchScript.")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"--backbone {path} has {path.stat().st_size} bytes; at most {MOST_BYTES} are read.")
    return torch.from_numpy(np.fromfile(path, dtype=np.uint8))

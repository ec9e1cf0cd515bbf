"""What a training run leaves beside its checkpoints: TensorBoard curves, image grids, `metrics.jsonl`, lines."""

import time
from pathlib import Path
from typing import Any

import torch
from ood_shared import distributed, files
from ood_shared.runs import Run
from torch import Tensor

IMAGES = "images"  # folder of the grids


class Recorder:
    """A listener of `loop.Trainer`; of several ranks only the first writes.

    Args:
        root: log_root; gets `tensorboard/`, `images/`, `metrics.jsonl`, `config.json`.
        settings: of the run, for `config.json`.
        last_step: iterations that a resumed run has behind it.
    """

    def __init__(self, root: Path, settings: dict[str, Any], last_step: int = 0, verbose: bool = True) -> None:
        self.root, self.verbose, self.started = root, verbose, time.perf_counter()
        self.run = Run(root, settings, last_step=last_step)
        self._board: Any = None
        if distributed.is_main():
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(root / "tensorboard"), purge_step=last_step + 1 if last_step else None)
        self._last: dict[str, float] = {}

    def __call__(self, name: str, *values: Any) -> None:
        """One event."""
        if self._board is None:
            return
        if name == "stage" and self.verbose:
            kind, res, length, batch = values
            print(f"stage {kind} at {res} pixels: {length} iterations, {batch} images each", flush=True)
        elif name == "scalars":
            group, scalars, step = values
            self._board.add_scalars(group, scalars, step)
            self._note(step, {f"{group}/{key}": value for key, value in scalars.items()})
        elif name == "scalar":
            key, value, step = values
            self._board.add_scalar(key, value, step)
            self._note(step, {key: value})
            if key == "val/total":
                seconds = time.perf_counter() - self.started
                train = self._last.get("train/losses/image_rec_loss", float("nan"))
                print(f"iteration {step}  train {train:.4f}  validation {value:.4f}  {seconds:.0f} s", flush=True)
        elif name == "grid":
            file, images, side, per_row = values
            save_grid(self.root / IMAGES / file, images, side, per_row)

    def close(self) -> None:
        """Close what is open."""
        self.run.close()
        if self._board is not None:
            self._board.close()

    def _note(self, step: int, entries: dict[str, float]) -> None:
        self._last |= entries
        self.run.log({"epoch": step, **entries})


def save_grid(path: Path, images: Tensor, side: int, per_row: int) -> None:
    """Images of about [-1, 1] as one PNG, enlarged by repetition.

    Args:
        images: (n, 1 or 3, h, w); of volumes (n, c, d, h, w) the middle slices are shown.
        side: pixels, of the width of one image in the grid.
        per_row: images in a row.
    """
    from PIL import Image
    from torchvision.utils import make_grid

    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]
    shown = (images.detach().float().cpu() * 0.5 + 0.5).clamp(0, 1)
    grid = make_grid(shown, nrow=per_row, padding=2)
    levels = (grid * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    picture = Image.fromarray(levels.numpy())
    size = (side * per_row, side * (len(images) // per_row))
    with files.atomic_path(path) as temporary:
        picture.resize(size, Image.Resampling.NEAREST).save(temporary)

"""`predict_3d.py`: anomaly maps or scores of a folder of volumes, one after the other.

The challenge's container runs this with `ood_shared` absent and everything but the output folder read-only: see
`standalone`.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mood_dpa.config_files import read_config
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import Rule, agreed
from mood_dpa.data.volume_queue import Writer, own_share, read_ahead, report_failures
from mood_dpa.data.volumes import Volume, list_volumes, volume_name, write_volume
from mood_dpa.predict import Ensemble, load_ensemble, say_unseen, trained_axes
from mood_dpa.scoring_settings import PredictionSettings, with_found_paths
from mood_dpa.standalone import (
    InputError,
    reading,
    refuse_same_folder,
    resolve_device,
    warn_of_slow_bf16,
    write_text,
)


def predict_step(options: argparse.Namespace) -> None:
    """The command."""
    if options.pictures:
        _refuse_pictures()
    device = resolve_device(options.device)
    warn_of_slow_bf16(device, options.precision)
    folder, output = Path(options.input), Path(options.output)
    paths = list_volumes(folder)
    refuse_same_folder(output, folder, flag="-o")
    config = read_config(options.config)
    with reading(options.config, "prediction configuration", "Compare its entries with those of configs/."):
        settings = with_found_paths(PredictionSettings.of(config), Path(options.config))
    ensemble = load_ensemble(settings, device, options.precision)
    rule = agreed(options.rescale or settings.rule, [part.model.origin.rescale for part in ensemble.models])
    predict_folder(paths, output, ensemble, device, options.mode, options.resume, options.pictures, rule)


def predict_folder(
    paths: Sequence[Path],
    output: Path,
    ensemble: Ensemble,
    device: torch.device,
    mode: str,
    resume: bool = False,
    pictures: bool = False,
    rule: Rule | None = None,
) -> None:
    """Predict volume after volume.

    Args:
        paths: volumes.
        output: gets `<name>` (float32 NIfTI with the input's affine) or `<name>.txt`.
        mode: `pixel` or `sample`.
        resume: leave out volumes whose result is there.
        pictures: also write three-plane overlays and a page with them.
        rule: how intensities get to [0, 1]; None wants them there.

    Raises:
        InputError: some volumes could not be used; the others are finished.
    """
    todo = [
        path
        for path in own_share(list(paths))
        if not (resume and result_path(output, volume_name(path), mode).is_file())
    ]
    failed: list[str] = []
    drawn: list[Any] = []
    directions = Directions(trained_axes(ensemble.models))
    with Writer() as write:
        for volume in read_ahead(todo, failed, rule=rule or Rule(), directions=directions):
            say_unseen(volume, ensemble.models)
            voxels, score = ensemble.predict(volume.data, device)
            if mode == "sample":
                write(write_text, result_path(output, volume.name, mode), repr(score))
            else:
                write(write_volume, result_path(output, volume.name, mode), voxels.cpu().numpy(), volume)
            if pictures:
                drawn.append(_planes(volume, voxels.cpu().numpy(), score))
    directions.say()
    if drawn:
        from mood_dpa.figures import write_overlays

        rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else ""
        write_overlays(output / "pictures", output / f"report{rank}.html", "Anomaly maps", drawn)
    report_failures(failed, len(paths) - len(failed))


def result_path(output: Path, name: str, mode: str) -> Path:
    """The file that a volume's prediction goes to."""
    return output / (name if mode == "pixel" else f"{name}.txt")


def _planes(volume: Volume, voxels: npt.NDArray[np.float32], score: float) -> Any:
    from mood_dpa.figures import planes_of

    return planes_of(volume, voxels, score=score)


def _refuse_pictures() -> None:
    """Say before the work that pictures cannot be drawn, as in the container."""
    try:
        import mood_dpa.figures  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--pictures needs {error.name}, which is not installed here. Leave it out, or install all of mood-dpa."
        ) from None

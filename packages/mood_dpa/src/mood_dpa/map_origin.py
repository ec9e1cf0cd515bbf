"""`maps.json`: what the maps of a results folder were made with, so that `--resume` takes none of another model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_shared import checkpoints, distributed, files
from ood_shared.errors import InputError

from mood_dpa.data.intensities import Rule
from mood_dpa.scoring_settings import InferenceSettings

ORIGIN = "maps.json"


def origin_of(settings: InferenceSettings, rule: Rule, precision: str) -> dict[str, Any]:
    """Everything that decides the maps of a volume but the volume itself."""
    return {
        "model_sha256": checkpoints.sha256(settings.model),
        "test_image_rec_loss": repr(settings.test_loss),
        "apply_along_axis": settings.axis,
        "resize": settings.test_set.size,
        "do_not_process_small_area": settings.skip_small,
        "small_area": settings.small_area,
        "delete_zero_area": settings.delete_zero_area,
        "rescale": repr(rule),
        "precision": precision,
    }


def make_way(root: Path, names: Sequence[str], origin: dict[str, Any], resume: bool) -> None:
    """Before the first map: where there are maps of something else, those of these volumes go.

    Args:
        root: results_root.
        names: of the volumes.
        origin: of `origin_of`.
        resume: keep the maps that are there.

    Raises:
        InputError: they are to be kept, and were made with something else, or nothing says with what.
    """
    path = root / ORIGIN
    found = files.read_json(path) if distributed.is_main() and path.is_file() else None
    before = distributed.gather_objects(found)[0]  # the first rank looks, before it takes anything away
    maps = [root / "pixel" / name for name in names if (root / "pixel" / name).is_file()]
    if resume and maps and before != origin:
        known = before if isinstance(before, dict) else {}
        other = next((key for key in origin if known.get(key) != origin[key]), ORIGIN)
        said = f"another {other}" if known else f"what nothing says ({path} is missing)"
        raise InputError(f"--resume: the maps in {root / 'pixel'} were made with {said}. Leave --resume out.")
    if distributed.is_main() and before != origin:
        for old in (*maps, path):
            old.unlink(missing_ok=True)
    distributed.gather_objects(None)  # nobody writes a map before the old ones are gone


def keep_origin(root: Path, origin: dict[str, Any]) -> None:
    """Say in `root` what its maps are made with, on every rank alike; before the first of them is written."""
    if not (root / ORIGIN).is_file():
        files.write_json(root / ORIGIN, origin)

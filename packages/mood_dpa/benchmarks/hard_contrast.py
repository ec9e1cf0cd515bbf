"""Why networks find little on hard subjects: how far an anomaly lifts the map, against how much a healthy map varies.

    python benchmarks/hard_contrast.py --seeds 0 1 2 --output results/hard_contrast.json

reads what `compare_hard` left in `--work` and uses its trained networks. In units of the mean of the healthy subject's
map inside the head: `rise` is the mean over the anomaly's voxels, with the anomaly less without; `spread` is the
standard deviation of the healthy map inside the head.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_hard import KINDS, SETTINGS, Array, Maps, network, read
from mood_dpa.data.volumes import case_id, list_volumes, read_volume
from ood_shared import files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--row", default="start", help="network whose maps are looked at")
    parser.add_argument("--work", type=Path, default=Path("output/compare_hard"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    settings = read(options.work / "settings.json")
    given = argparse.Namespace(work=options.work, **{name: settings[name] for name in SETTINGS})
    seeds = [contrast(given, options.row, seed) for seed in options.seeds]
    record = {"what": "rise of the map by an anomaly and spread of healthy maps, in units of the healthy mean"}
    files.write_json(options.output, {**record, "row": options.row, "seeds": options.seeds, "found": seeds})


def contrast(options: argparse.Namespace, row: str, seed: int) -> dict[str, Any]:
    """Mean over the test subjects of a seed."""
    data = options.work / f"subjects_{seed}"
    maps = network(row, options, data, seed, torch.device("cpu"))
    rise: dict[str, list[float]] = {kind: [] for kind in KINDS}
    spread = []
    for path in (path for path in list_volumes(data / "test_images") if "_" in path.name):
        ill, healthy = (read_volume(p).data for p in (path, path.with_name(f"{case_id(path.name)}.nii.gz")))
        mask = read_volume(data / "test_masks" / path.name).data > 0.5
        with_it, without = (averaged(maps, volume) for volume in (ill, healthy))
        normal = without[healthy > 0]
        kind = path.name.split("_")[1].split(".")[0]
        rise[kind].append(float((with_it[mask].mean() - without[mask].mean()) / normal.mean()))
        spread.append(float(normal.std() / normal.mean()))
    found = {"rise": {kind: float(np.mean(values)) for kind, values in rise.items()}, "spread": float(np.mean(spread))}
    print(seed, found, flush=True)
    return found


def averaged(maps: Any, volume: Array) -> Array:
    """The map of three axes."""
    found: Maps = maps(volume)
    return found[0]


if __name__ == "__main__":
    main()

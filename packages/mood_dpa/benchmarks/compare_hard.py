"""The rows of `compare_features` on hard subjects: heads that lie and look differently, anomalies of five kinds.

    python benchmarks/compare_hard.py --seeds 0 1 2 --output results/hard_subjects.json

A seed decides everything: subjects, anomalies, the draw of VGG19, its SimCLR, the autoencoders. No training and no
atlas sees a test subject; autoencoders keep the step that is best on healthy subjects of fold 0. What is finished is
kept in `--work`, row by row, and not computed again.

Of each test subject there are two volumes, healthy and with one anomaly. AP is that of their voxels: in the whole
volume with maps as they come, and inside the head (x > 0), overall and per kind. The score of a volume is the
maximum of its map in the head. Intervals come from resampled test subjects, each with both volumes.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from compare_features import SIDE, SMALL_AREA, train_axes, vgg_file
from mood_dpa.data.folds import cases_of, read_folds
from mood_dpa.data.subjects import HARD, DemoSet, ensure_subjects
from mood_dpa.data.subtle_anomalies import KINDS
from mood_dpa.data.volumes import case_id, list_volumes, read_volume
from mood_dpa.predict import Ensemble
from mood_dpa.ranking import Ranking
from mood_dpa.scores import axis_map, combine
from ood_shared import files, runs
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, unknown
from plain_detectors import SIGMAS, detectors_of
from registered_atlas import make_atlas
from scipy.ndimage import gaussian_filter

Array = npt.NDArray[np.float32]
Maps = list[Array]  # the map of a detector; those of its single axes may follow
SETTINGS = ("side", "slice_size", "subjects", "test", "steps", "simclr_steps")
NETWORKS = ("start", "simclr", "random", "l1")
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--side", type=int, default=64, help="voxels per side of the volumes")
    parser.add_argument("--slice-size", type=int, default=SIDE, help="pixels per side of the slices, a power of 2")
    parser.add_argument("--subjects", type=int, default=78, help="those for testing among them")
    parser.add_argument("--test", type=int, default=30)
    parser.add_argument("--steps", type=int, default=200, help="of each autoencoder")
    parser.add_argument("--simclr-steps", type=int, default=40)
    parser.add_argument("--only", nargs="+", default=None, help="names of rows; the others are left out")
    parser.add_argument("--work", type=Path, default=Path("output/compare_hard"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    settings = {name: getattr(options, name) for name in SETTINGS}
    files.write_json(options.work / "settings.json", same_settings(options.work / "settings.json", settings))
    for seed in options.seeds:
        run_seed(options, seed)
    record = {
        "what": "hard subjects: AP of voxels, AUROC of volumes; mean, and interval of the mean over seeds",
        **settings,
        "seeds": options.seeds,
        **summary([[read(path) for path in sorted((options.work / f"rows_{s}").iterdir())] for s in options.seeds]),
        "hardware": runs.hardware(options.device),
        "versions": runs.versions(),
    }
    files.write_json(options.output, record)


def same_settings(path: Path, settings: dict[str, int]) -> dict[str, int]:
    """The settings, unless rows of others lie there."""
    if path.is_file() and read(path) != settings:
        raise InputError(f"{path.parent} holds rows of other settings ({read(path)}); name another --work.")
    return settings


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def run_seed(options: argparse.Namespace, seed: int) -> None:
    """All rows of a seed, each in a file `rows_<seed>/<row>.json`."""
    data, rows = options.work / f"subjects_{seed}", options.work / f"rows_{seed}"
    ensure_subjects(data, DemoSet(options.subjects, options.test, options.side, seed, HARD))
    makers = list(detectors(options, data, seed, options.device))
    for name in options.only or ():
        if name not in dict(makers):
            raise unknown("row", name, dict(makers))
    for number, (name, make) in enumerate(makers):
        path = rows / f"{number:02d}.json"
        if not path.is_file() and (options.only is None or name in options.only):
            started = time.perf_counter()
            row = measure(data, make())
            seconds = time.perf_counter() - started
            files.write_json(path, {"name": name, "seed": seed, "seconds": round(seconds, 1), **row})
            print(seed, name, {k: row[k] for k in ("ap_volume", "ap_head", "ap_kinds")}, f"{seconds:.0f} s", flush=True)


def detectors(
    options: argparse.Namespace, data: Path, seed: int, device: torch.device
) -> Iterator[tuple[str, Callable[[], Callable[[Array], Maps]]]]:
    """Name and maker of each detector; a detector takes a volume."""
    healthy = healthy_volumes(data)
    plain: dict[str, Callable[[Array], Array]] = detectors_of(np.mean(healthy, 0), np.std(healthy, 0))
    plain["local sd, 2 voxels"] = local_sd
    for name, detector in plain.items():
        yield name, partial(one_map, lambda detector=detector: detector)
    sigma = SIGMAS[-1]
    name = f"z smoothed by {sigma:g} voxels, atlas brought to the volume"
    yield name, partial(one_map, lambda: make_atlas(healthy).detector(sigma))
    for name in NETWORKS:
        yield name, partial(network, name, options, data, seed, device)


def one_map(make: Callable[[], Callable[[Array], Array]]) -> Callable[[Array], Maps]:
    """A detector of one map as one that gives a list of maps."""
    detector = make()
    return lambda x: [detector(x)]


def healthy_volumes(data: Path) -> list[Array]:
    """Those that autoencoders are trained on."""
    wanted = cases_of(read_folds(data / "folds.csv"), "train", 0)
    return [read_volume(path).data for path in list_volumes(data / "volumes") if case_id(path.name) in wanted]


def local_sd(x: Array) -> Array:
    """Standard deviation in a Gaussian window of 2 voxels: no atlas, no training."""
    spread: Array = np.sqrt(np.clip(gaussian_filter(x**2, 2) - gaussian_filter(x, 2) ** 2, 0, None))
    return spread


def network(
    name: str, options: argparse.Namespace, data: Path, seed: int, device: torch.device
) -> Callable[[Array], Maps]:
    """The map averaged over three axes, then that of each."""
    folder = options.work / f"{name}_{seed}"
    weights = vgg_file(name, folder, data, seed, options.simclr_steps, device, options.slice_size)
    area = SMALL_AREA * (options.side / 64) ** 2
    size = options.slice_size
    ensemble: Ensemble = train_axes(folder, data, name, weights, seed, options.steps, device, area, size)

    def maps(x: Array) -> Maps:
        image = torch.from_numpy(x).to(device)
        single = [axis_map(image, p.model, p.axis, p.selection, tuple(image.shape)) for p in ensemble.models]
        return [part.cpu().numpy() for part in (combine(single), *single)]

    return maps


def measure(data: Path, detector: Callable[[Array], Maps]) -> dict[str, Any]:
    """AP of voxels, and the scores of all test volumes: subject by subject, healthy and ill."""
    volume, heads = Ranking(), list[Ranking]()
    kinds = {kind: Ranking() for kind in KINDS}
    scores, kind_of = list[list[list[float]]](), list[str]()
    for ill in sorted(path for path in list_volumes(data / "test_images") if "_" in path.name):
        kind, pair = ill.name.split("_")[1].split(".")[0], list[list[float]]()
        for path in (ill.with_name(f"{case_id(ill.name)}.nii.gz"), ill):
            x, mask = read_volume(path).data, read_volume(data / "test_masks" / path.name).data > 0.5
            maps, head = detector(x), x > 0
            heads = heads or [Ranking() for _ in maps]
            volume.add(mask, maps[0])
            kinds[kind].add(mask[head], maps[0][head])
            for ranking, part in zip(heads, maps, strict=True):
                ranking.add(mask[head], part[head])
            pair.append([float(part[head].max()) for part in maps])
        scores.append(pair)
        kind_of.append(kind)
    return {
        "ap_volume": volume.metrics().ap,
        "ap_head": heads[0].metrics().ap,
        "ap_single_axes": [ranking.metrics().ap for ranking in heads[1:]],
        "ap_kinds": {kind: ranking.metrics().ap for kind, ranking in kinds.items()},
        "auroc_head": heads[0].metrics().auroc,
        **prevalence(data),
        "kinds": kind_of,
        "scores": scores,
    }


@cache
def prevalence(data: Path) -> dict[str, Any]:
    """Share of anomalous voxels, the AP of chance: in volumes, in heads, per kind in heads."""
    counts = {kind: np.zeros(3) for kind in KINDS}
    for path in list_volumes(data / "test_images"):
        if "_" in path.name:
            mask, x = read_volume(data / "test_masks" / path.name).data > 0.5, read_volume(path).data
            counts[path.name.split("_")[1].split(".")[0]] += [mask.sum(), 2 * (x > 0).sum(), 2 * x.size]
    total = sum(counts.values())
    return {
        "chance_volume": float(total[0] / total[2]),
        "chance_head": float(total[0] / total[1]),
        "chance_kinds": {kind: float(count[0] / count[1]) for kind, count in counts.items()},
    }


def summary(seeds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows, each with its numbers of all seeds."""
    chance = {key: [rows[0][key] for rows in seeds] for key in ("chance_volume", "chance_head", "chance_kinds")}
    return {**chance, "rows": {row["name"]: row_summary(list(of)) for *of, row in _by_name(seeds)}}


def _by_name(seeds: list[list[dict[str, Any]]]) -> Iterator[tuple[dict[str, Any], ...]]:
    """(row of each seed …, the first of them)."""
    for rows in zip(*seeds, strict=True):
        assert len({row["name"] for row in rows}) == 1
        yield (*rows, rows[0])


def row_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    draws = np.random.default_rng(0)
    keys = ("ap_volume", "ap_head", "ap_single_axes", "ap_kinds", "auroc_head", "seconds")
    found: dict[str, Any] = {key: [row[key] for row in rows] for key in keys}
    wins = [pairs(np.array(row["scores"])[:, :, 0]) for row in rows]
    found["sample_auroc"] = [float(win.mean()) for win in wins]
    found["sample_interval"] = interval(wins, draws)
    found["sample_auroc_single_axes"] = [
        [float(pairs(np.array(row["scores"])[:, :, axis]).mean()) for axis in range(1, len(row["scores"][0][0]))]
        for row in rows
    ]
    found["sample_auroc_kinds"] = {
        kind: [float(win[np.array(row["kinds"]) == kind].mean()) for win, row in zip(wins, rows, strict=True)]
        for kind in KINDS
    }
    return found


def pairs(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(subject with anomaly, healthy subject): 1 where the first scores higher, 1/2 for ties. Its mean is the AUROC.

    Args:
        scores: (subjects, 2), healthy and with the anomaly.
    """
    healthy, ill = scores[:, 0], scores[:, 1]
    wins: npt.NDArray[np.float64] = (ill[:, None] > healthy) + 0.5 * (ill[:, None] == healthy)
    return wins


def interval(wins: list[npt.NDArray[np.float64]], draws: np.random.Generator) -> list[float]:
    """95 % interval of the mean AUROC of the seeds, from resampled subjects of each."""
    means = np.zeros(RESAMPLES)
    for win in wins:
        n = len(win)
        weights = draws.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
        means += ((weights @ win) * weights).sum(1) / len(wins)
    return [float(value) for value in np.quantile(means, (0.025, 0.975))]


if __name__ == "__main__":
    main()

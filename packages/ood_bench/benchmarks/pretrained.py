"""Pretrained features beside the common network, trained: the same ID images, the same outliers, three seeds.

    python packages/ood_bench/benchmarks/pretrained.py --data DIR --output results/pretrained.json

ID is split at random, anew for each seed: to fit, to calibrate, to test. Every image is brought to the size that the
network wants. Reported: AUROC of each outlier set (mean over seeds, lowest, highest), the share that is flagged at an
alarm rate of 5 %, ID images flagged, the time to fit and to score as a ratio to the common network's, and the peak of
memory of each run, which is a process of its own and reads the images, too (Linux).
"""

import argparse
import json
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_bench.backbones.choice import build
from ood_bench.fused_fit import fit_detector
from ood_bench.id_images import IdImages
from ood_shared.calibrated import calibrate
from ood_shared.contract import COMMON
from ood_shared.datasets import ImageSet, load, load_any_size
from ood_shared.errors import MissingSplitError
from ood_shared.training import Compute
from sklearn.metrics import roc_auc_score

SIDE, ALARM_RATE, MOST = 224, 0.05, 400
COMPARISONS: dict[str, dict[str, Any]] = {
    "chest": {
        "id": "chest_xray224.tar",
        "ood": ("mednist64.tar.gz", "brain_mri_slices.tar", "textures224.tar", "scenes150.tar"),
        "sizes": (100, 50, 50),
    },
    "cifar10": {
        "id": "cifar10_imagefolder.tar.gz",
        "ood": ("ood32_tinyimagenet.tar.gz", "ood32_scenes.tar.gz", "ood32_textures.tar.gz"),
        "sizes": (4000, 400, 400),
    },
}


def compare(name: str, data: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Both networks on one comparison."""
    runs: dict[str, list[dict[str, Any]]] = {"train": [], "pretrained": []}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for seed in seeds:
            for word, found in runs.items():
                found.append(processes.submit(run, name, word, data, seed).result())
                percent = {k: round(100 * v, 1) for k, v in found[-1]["auroc"].items()}
                print(name, word, seed, percent, f"peak {found[-1]['peak_mib']:.0f} MiB", flush=True)
    slower = {part: [b[part] / a[part] for a, b in zip(*runs.values(), strict=True)] for part in ("fit", "score")}
    return {"sizes": COMPARISONS[name]["sizes"], "runs": runs, "times_of_the_trained_network": slower}


def run(name: str, word: str, data: Path, seed: int) -> dict[str, Any]:
    """One network with one split."""
    about = COMPARISONS[name]
    own, sizes = read(data / about["id"]), about["sizes"]
    outliers = {word.split(".")[0]: read(data / word) for word in about["ood"]}
    order = np.random.default_rng(seed).permutation(len(own))[: sum(sizes)]
    known, test = np.sort(order[: -sizes[2]]), order[-sizes[2] :]
    images = IdImages(own.name, own.select(known), square=True, groups=None)
    backbone = None if word == "train" else build(word, images.side)
    started = time.perf_counter()
    fitted = fit_detector(
        images.at(backbone, mirror=False),
        Compute(torch.device("cpu")),
        torch.Generator().manual_seed(seed),
        backbone=backbone,
        schedule=replace(COMMON["quick"], train_images=None),
        seed=seed,
        held=np.sort(np.random.default_rng(seed).permutation(len(known))[: sizes[1]]),
    )
    fit_seconds = time.perf_counter() - started
    detector = calibrate(fitted.detector, fitted.scores, alarm_rate=ALARM_RATE)
    started = time.perf_counter()
    inside = judge(detector, own.select(test))
    seconds = (time.perf_counter() - started) / sizes[2]
    outside = {name: judge(detector, some.select(drawn(len(some), seed))) for name, some in outliers.items()}
    truth = {name: np.r_[np.zeros(len(inside.scores)), np.ones(len(found.scores))] for name, found in outside.items()}
    return {
        "seed": seed,
        "auroc": {n: float(roc_auc_score(truth[n], np.r_[inside.scores, v.scores])) for n, v in outside.items()},
        "caught": {name: float(found.flagged.mean()) for name, found in outside.items()},
        "id_flagged": float(inside.flagged.mean()),
        "fit": fit_seconds,
        "score": seconds,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Peak of memory of this process; ru_maxrss would begin with that of the process that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def judge(detector: Any, images: ImageSet) -> Any:
    """The verdict on a set."""
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2).contiguous()
    return detector.judge(detector.prepare(pixels))


def drawn(n: int, seed: int) -> np.ndarray:
    """At most so many positions."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:MOST])


def read(path: Path) -> ImageSet:
    """All images of a file, of one size."""
    for split in ("test", "train"):
        try:
            return load_any_size(str(path), split, None, SIDE)
        except MissingSplitError:
            continue
    return load(str(path), "test")


def main() -> None:
    """Compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(COMPARISONS), choices=COMPARISONS)
    options = parser.parse_args()
    found = json.loads(options.output.read_text()) if options.output.is_file() else {}
    for name in options.only:
        found[name] = compare(name, options.data, (0, 1, 2))
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

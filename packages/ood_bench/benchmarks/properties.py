"""What the scores of a comparison follow: rank correlations with simple properties of the images, set by set.

    python benchmarks/properties.py FOLDER [--least 0.3]

FOLDER is an --output-dir of ood-bench, run from the same place, so that its paths to images still hold. Brightness is
the mean of the grey values, contrast their standard deviation, roughness the mean difference of neighbouring pixels.
A row is a method on a set, a number a training; rows without one of at least `--least` in every training, of one sign,
are left out. Explains where a method stays behind; nothing is chosen by it.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ood_shared import files
from ood_shared.contract import COMMON, Request, bench_parser
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.results.record import ScoreArrays, read_result
from scipy.stats import spearmanr

SIDE = 32
PROPERTIES = ("brightness", "contrast", "roughness")
Values = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--least", type=float, default=0.3)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in sorted({int(folder.name.removeprefix("seed-")) for folder in options.folder.glob("*/seed-*")}):
        benchmark: Benchmark | None = None
        for result in sorted(options.folder.glob(f"*/seed-{seed}/**/result.json")):
            record, arrays = read_result(result.parent)
            if benchmark is None:
                benchmark = images_of(options.folder, seed)
                properties = {name: measured(images) for name, images in benchmark.scored(record["id_dataset"]).items()}
            if not np.array_equal(arrays["labels"][arrays["dataset"] == 0], benchmark.test_labels.numpy()):
                print(f"{result.parent}: scored other images; left out.")
                continue
            for name, values in properties.items():
                row = followed(arrays, name, values)
                found.setdefault((record["method"], name), []).append(row)
    print(f"| method | set | {' | '.join(PROPERTIES)} |\n|---|---|---|---|---|")
    for (method, name), rows in found.items():
        columns = [[row[word] for row in rows] for word in PROPERTIES]
        if any(min(column) >= options.least or max(column) <= -options.least for column in columns):
            cells = (", ".join(f"{value:.2f}" for value in column) for column in columns)
            print(f"| {method} | {name} | {' | '.join(cells)} |")


def images_of(folder: Path, seed: int) -> Benchmark:
    """The images that the methods of one seed had, drawn again."""
    request = sorted(folder.glob(f"*/seed-{seed}/request.json"))[0]
    given, _ = bench_parser("properties").parse_known_args(files.read_json(request)["arguments"])
    budget = COMMON[given.budget]
    generator = torch.Generator().manual_seed(seed)
    return read_benchmark(Request.from_options(given), SIDE, 3, generator, budget.train_images, budget.test_images)


def measured(images: torch.Tensor) -> dict[str, Values]:
    """Each property of (n, channels, side, side), by name, each (n,)."""
    grey = images.double().mean(1).numpy()
    steps = np.abs(np.diff(grey, axis=1)).mean((1, 2)), np.abs(np.diff(grey, axis=2)).mean((1, 2))
    return dict(zip(PROPERTIES, (grey.mean((1, 2)), grey.std((1, 2)), sum(steps) / 2), strict=True))


def followed(arrays: ScoreArrays, name: str, properties: dict[str, Values]) -> dict[str, float]:
    """Rank correlation of a set's scores with each property."""
    scores = arrays["scores"][arrays["dataset"] == arrays["names"].tolist().index(name)]
    return {word: float(spearmanr(scores, values).statistic) for word, values in properties.items()}


if __name__ == "__main__":
    main()

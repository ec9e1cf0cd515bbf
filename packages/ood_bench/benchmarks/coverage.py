"""How many ID images are flagged: 200 random splits into calibration and test images, against what is promised.

    python benchmarks/coverage.py scores.npz …                       # ID scores that a run left, or an array `scores`
    python benchmarks/coverage.py RUN_FOLDER …                       # and the calibration scores of its model.ood
    python benchmarks/coverage.py --model model.ood --images FOLDER  # images that the detector was not fitted on
        [--splits 200] [--seed 0] [--output FILE.json]

In every split a threshold is fitted on one half of the ID test scores and the flagged share of the other half counted.
Without ties that count is beta-binomial over the splits, whatever the scores: the mean and the range that it gives are
printed beside those found, and the bound that a user reads. `as fitted` is the share of all test images beyond the
threshold in `model.ood`, which training images held out gave it: one number for a run, and a real test of whether the
images are like the calibration images.
"""

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float
from ood_shared import model_file
from ood_shared.errors import InputError
from ood_shared.files import write_json
from ood_shared.thresholds import fit_threshold, least_calibration
from scipy import stats

RATES = (0.05, 0.01)
SPLITS = 200
ENDS = (0.05, 0.95)  # of the range over splits

Scores = Float[np.ndarray, " n"]


def coverage(scores: Scores, rate: float, splits: int, generator: np.random.Generator) -> dict[str, float]:
    """Flagged shares of the second half of the scores, with the threshold of the first half, over random splits."""
    half = len(scores) // 2
    shares = np.empty(splits)
    for at in range(splits):
        order = generator.permutation(scores)
        limit = fit_threshold(order[:half], rate)
        shares[at] = (order[half:] > limit.value).mean()
    tested, alarmed = len(scores) - half, limit.n + 1 - limit.k
    law = stats.betabinom(tested, alarmed, limit.k)
    return {
        "calibration": half,
        "test": tested,
        "mean": float(shares.mean()),
        "low": float(np.quantile(shares, ENDS[0])),
        "high": float(np.quantile(shares, ENDS[1])),
        "promised_mean": limit.expected,
        "promised_bound": limit.bound,
        "expected_low": float(law.ppf(ENDS[0])) / tested,
        "expected_high": float(law.ppf(ENDS[1])) / tested,
    }


def as_fitted(calibration: Scores, scores: Scores, rate: float) -> dict[str, float]:
    """Flagged share of the scores with a threshold from the calibration scores of a file."""
    limit = fit_threshold(calibration, rate)
    flagged = int((scores > limit.value).sum())
    interval = stats.binomtest(flagged, len(scores)).proportion_ci(0.95, method="exact")
    return {
        "calibration": limit.n,
        "share": flagged / len(scores),
        "low": float(interval.low),
        "high": float(interval.high),
        "promised_bound": limit.bound,
    }


def id_scores(path: Path) -> Scores:
    """The ID scores of a `scores.npz`: those of its first set, or all where it names no sets."""
    with np.load(path, allow_pickle=False) as arrays:
        scores = arrays["scores"].astype(np.float64)
        return scores[arrays["dataset"] == 0] if "dataset" in arrays else scores


def calibration_scores(path: Path) -> Scores:
    """Those that a `model.ood` holds; of any format of the file, since only this is read."""
    with zipfile.ZipFile(path) as archive:
        found: Scores = safetensors.numpy.load(archive.read(model_file.TENSORS))[model_file.SCORES]
    return found


def sources(options: argparse.Namespace) -> Iterator[tuple[str, Scores, Scores | None]]:
    """Name, ID scores and calibration scores, if they are there, of everything that was asked for."""
    for path in options.paths:
        if not path.is_dir():
            yield path.name, id_scores(path), None
            continue
        name, model = "/".join(path.absolute().parts[-3:]), path / "model.ood"
        yield name, id_scores(path / "scores.npz"), calibration_scores(model) if model.is_file() else None
    if options.model is not None:
        calibrated = model_file.load(options.model, options.device)
        yield options.model.name, calibrated.score(sorted(_files(options.images))), calibrated.scores


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="scores.npz, or run folders with one and a model.ood")
    parser.add_argument("--model", type=Path, help="a detector's file, for --images")
    parser.add_argument("--images", type=Path, help="folder of ID images that it was not fitted on")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if (options.model is None) != (options.images is None) or not (options.paths or options.model):
        parser.error("name run folders or scores.npz files, or --model with --images")
    found: dict[str, Any] = {}
    for name, scores, calibration in sources(options):
        found[name] = {"id_images": len(scores), "rates": {}}
        for rate in RATES:
            if len(scores) // 2 < least_calibration(rate):
                print(f"{name}: half of {len(scores)} ID images cannot support {rate:g}")
                continue
            row: dict[str, Any] = coverage(scores, rate, options.splits, np.random.default_rng(options.seed))
            print(f"{name} at {rate:g}: {words(row)}")
            try:
                row |= {} if calibration is None else {"as_fitted": as_fitted(calibration, scores, rate)}
            except InputError as error:
                print(f"{name} at {rate:g}: {error}")
            if "as_fitted" in row:
                print(f"{name} at {rate:g}, as fitted: {fitted_words(row['as_fitted'])}")
            found[name]["rates"][f"{rate:g}"] = row
    if options.output is not None:
        write_json(options.output, {"splits": options.splits, "seed": options.seed, "runs": found})


def words(row: dict[str, float]) -> str:
    """The shares of the splits, in %."""
    mean, low, high, bound = (100 * row[name] for name in ("mean", "low", "high", "promised_bound"))
    at_most, expected_low, expected_high = (
        100 * row[name] for name in ("promised_mean", "expected_low", "expected_high")
    )
    return (
        f"{mean:.2f} % flagged on average, 90 % of splits in [{low:.1f}, {high:.1f}]; promised at most {at_most:.2f}, "
        f"by law [{expected_low:.1f}, {expected_high:.1f}]; stated bound {bound:.1f}"
    )


def fitted_words(row: dict[str, float]) -> str:
    """The share with the file's calibration images, in %."""
    share, low, high, bound = (100 * row[name] for name in ("share", "low", "high", "promised_bound"))
    return f"{share:.1f} % [{low:.1f}, {high:.1f}] flagged, stated bound {bound:.1f}"


if __name__ == "__main__":
    main()

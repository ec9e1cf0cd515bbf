"""Images a second of `score` against a bare loop, and memory against the number of files; ratios within one run.

    python benchmarks/bench_score.py [--model model.ood] [--images 4000] [--device cpu] [--output FILE.json]

The bare loop is torch's DataLoader with two workers that read, decode and prepare a file, and the detector on batches
of 256. It writes nothing; `score` also writes its rows. Both use the same files, decoder, preparation and detector, in
turns. Wanted: at least 0.9. Then `score` runs on 2,000 and on 200,000 files (links to a few) with a detector that does
nothing, in processes of their own; wanted: peaks of memory that differ by less than 10 % (Linux).

Without --model the detector is the common network with random weights and the energy of its logits.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch
from ood_shared import runs
from ood_shared.backbone import build_common
from ood_shared.datasets import resize
from ood_shared.datasets.decode import Encoded, decode
from ood_shared.devices import resolve_device
from ood_shared.files import write_json
from ood_shared.scoring import score_step
from ood_shared.testing.timing import measure_in_turns
from ood_shared.thresholds import fit_threshold, p_values
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIDE, BATCH, WORKERS = 32, 256, 2
FOLDERS = {
    "PNG, grey, 32 x 32": (32, 1, "png"),
    "JPEG, RGB, 64 x 64": (64, 3, "jpg"),
    "JPEG, RGB, 224 x 224": (224, 3, "jpg"),
}
FEW, MANY = 2_000, 200_000
MEMORY = r"""
import argparse, re, sys
from pathlib import Path
import numpy as np, torch
from types import SimpleNamespace
from ood_shared.scoring import score_step
from ood_shared.thresholds import Threshold
class Nothing:
    classes, limit = ("a",), Threshold(1.0, 0.05, 100, 96)
    def prepare(self, pixels): return pixels.float().mean(dim=(1, 2, 3))
    def judge(self, images):
        n = len(images)
        return SimpleNamespace(scores=np.zeros(n), p=np.ones(n), flagged=np.zeros(n, bool), classes=np.zeros(n, int))
options = argparse.Namespace(images=sys.argv[1:2], csv=sys.argv[2], resume=len(sys.argv) > 3, data_dir=None)
score_step(Nothing(), options)
# of this program alone: ru_maxrss would begin with the peak of the process that started it
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


class Energy:
    """A detector with the cost of a forward pass of the common network."""

    classes = tuple("0123456789")

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.network = build_common("smallresnet10", 10, 3).eval().to(device)
        self.calibration = np.random.default_rng(0).normal(size=400)
        self.limit = fit_threshold(self.calibration, 0.05)

    def prepare(self, pixels: Tensor) -> Tensor:
        return resize(pixels, (SIDE, SIDE), channels=3)

    def judge(self, images: Tensor) -> SimpleNamespace:
        with torch.inference_mode():
            logits = self.network(images.to(self.device).float() / 255)
        scores, classes = -logits.logsumexp(dim=1).double().cpu().numpy(), logits.argmax(dim=1).cpu().numpy()
        p = p_values(self.calibration, scores)
        return SimpleNamespace(scores=scores, p=p, flagged=scores > self.limit.value, classes=classes)


class Files(Dataset):
    """Files as prepared tensors."""

    def __init__(self, folder: Path, prepare: Callable[[Tensor], Tensor]) -> None:
        self.paths, self.prepare = sorted(str(path) for path in folder.iterdir()), prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        pixels = decode(Encoded(0, self.paths[number], Path(self.paths[number])))
        return self.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a file of `ood-detect fit`")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    detector = Energy(device)
    if options.model is not None:
        import ood_bench

        detector = ood_bench.load(options.model, options.device)
    with TemporaryDirectory() as at:
        speed = {kind: speed_row(detector, Path(at), kind, options, device) for kind in FOLDERS}
        memory = memory_rows(Path(at))
    if options.output is not None:
        about = {"hardware": runs.hardware(device), "versions": runs.versions(), "images": options.images}
        write_json(options.output, {"speed": speed, "peak_mib": memory, **about})


def speed_row(
    detector: Energy, at: Path, kind: str, options: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """Images a second of both ways, and the ratio of the medians."""
    folder = make_images(at / kind, *FOLDERS[kind], options.images)
    words = argparse.Namespace(images=[str(folder)], csv=str(at / "out.csv"), resume=False, data_dir=None)

    def bare() -> None:
        for batch in DataLoader(Files(folder, detector.prepare), BATCH, num_workers=WORKERS):
            detector.judge(batch)

    found = measure_in_turns({"score": lambda: score_step(detector, words), "bare": bare}, options.repeats, device)
    rates = {name: options.images / timing.median for name, timing in found.items()}
    ratio = rates["score"] / rates["bare"]
    said = f"score {rates['score']:>7.0f}/s, bare loop {rates['bare']:>7.0f}/s: {ratio:.2f} (wanted: 0.9)"
    print(f"{kind:<24} {said}", flush=True)
    return {**rates, "ratio": ratio}


def memory_rows(at: Path) -> dict[str, float]:
    """Peaks of memory in MiB: of few and many files in one folder, of many in folders, and of going on behind them."""
    originals = sorted(make_images(at / "few", 32, 1, "png", 50).iterdir())
    flat, deep, few = (at / name for name in ("many", "many_in_folders", "some"))
    for number in range(MANY):
        link(originals[number % 50], flat / f"{number:06d}.png")
        link(originals[number % 50], deep / f"{number // 1000:03d}" / f"{number:06d}.png")
        if number < FEW:
            link(originals[number % 50], few / f"{number:06d}.png")
    found = {
        "few": peak(few, at / "few.csv"),
        "many": peak(flat, at / "many.csv"),
        "many in folders": peak(deep, at / "deep.csv"),
        "many, gone on with": peak(flat, at / "many.csv", "resume"),
    }
    for name, mib in found.items():
        print(f"{name:<24} {mib:>7.0f} MiB, {100 * (mib / found['few'] - 1):+.1f} %", flush=True)
    return found


def peak(*words: object) -> float:
    """Peak of memory of a scoring in a process of its own, MiB."""
    command = [sys.executable, "-c", MEMORY, *map(str, words)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def link(original: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(original)


def make_images(folder: Path, side: int, channels: int, ending: str, count: int) -> Path:
    """Smooth noise, as files."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        (image.convert("L") if channels == 1 else image).save(folder / f"{number:06d}.{ending}")
    return folder


if __name__ == "__main__":
    main()

"""Real volumes through every documented stage, with the documented commands and a small configuration.

    python benchmarks/real_volumes.py FOLDER_WITH_NIFTI_FILES --work output/real --output results/real_volumes.json

The numbers say that the chain works, no more: three volumes of different organs are no training set.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from mood_dpa.config_files import read_config, write_config
from ood_shared import files, runs

PACKAGE = Path(__file__).parents[1]
UTILS = "anomaly_detection/utils/data"
SIDE, STEPS, WIDTH = 32, 60, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    work = options.work.resolve()
    raw, seconds = work / "raw", {}
    raw.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.volumes.rglob("*.nii.gz")):
        (raw / path.name).write_bytes(path.read_bytes())

    def run(stage: str, *words: object) -> str:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, *map(str, words)], cwd=PACKAGE, capture_output=True, text=True)
        seconds[stage] = round(time.perf_counter() - started, 1)
        print(f"{stage}: {seconds[stage]} s", done.stdout.strip().splitlines()[-2:], flush=True)
        if done.returncode:
            raise SystemExit(f"{stage}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    healthy, folds = work / "healthy", work / "folds.csv"
    run("rescale", "-m", "mood_dpa", "rescale", "-i", raw, "-o", healthy)
    for axis in range(3):
        run(f"save_2D {axis}", f"{UTILS}/save_2D.py", "-i", healthy, "-o", work / f"2d_axis_{axis}", "-a", axis)
    run("folds", f"{UTILS}/create_folds.py", "-i", healthy, "-o", folds, "-n", 3, "--seed", 0)
    images, masks = work / "test_images", work / "test_masks"
    synthetic = f"{UTILS}/create_val_dataset_with_synthetic_anomalies.py"
    run("synthetic", synthetic, "-i", healthy, "-o", images, "-m", masks, "--seed", 0)
    run("simclr", "-m", "mood_dpa", "simclr", simclr_config(work), "--output-dir", work / "runs", "--seed", 0)
    weights = work / "runs" / "simclr_config" / "checkpoints" / "model.pth"
    measured: dict[str, Any] = {}
    for axis in range(3):
        train, inference = axis_configs(work, axis, weights)
        run(f"train {axis}", "anomaly_detection/main.py", "train", train)
        run(f"inference {axis}", "anomaly_detection/main.py", "inference_evaluate_3d", inference)
        result = json.loads((work / f"axis_{axis}" / "results" / "result.json").read_text())
        measured[f"axis_{axis}"] = {name: result[name] for name in ("sample", "pixel", "volumes")}
    predict = work / "predict.yaml"
    models = [
        {
            "checkpoint_path": str(work / f"axis_{axis}" / "checkpoints" / "anomaly_detection.tar"),
            "along_axis": axis,
            "resize": SIDE,
        }
        for axis in range(3)
    ]
    write_config(
        predict,
        {
            "do_not_process_small_area": True,
            "small_area": 100,
            "delete_zero_area": False,
            "resize": None,
            "path_to_vgg19_weights": str(weights),
            "models": models,
        },
    )
    out = work / "predictions"
    script = "submission_data/scripts/predict_3d.py"
    run("predict", script, "-i", images, "-o", out, "-c", predict, "-m", "pixel", "--pictures")
    score = run("challenge", "-m", "mood_dpa", "challenge", masks, out, "-m", "pixel")
    same = {path.name: same_space(path, images / path.name) for path in sorted(out.glob("*.nii.gz"))}
    record = {
        "what": "three real volumes through every stage; small networks, few steps",
        "volumes": sorted(path.name for path in raw.iterdir()),
        "slice_size": SIDE,
        "steps": STEPS,
        "challenge": score.strip().splitlines()[-1],
        "affines_equal": same,
        "axes": measured,
        "seconds": seconds,
        "hardware": runs.hardware(__import__("torch").device("cpu")),
        "versions": runs.versions(),
    }
    files.write_json(options.output, record)
    print(record["challenge"], same)


def simclr_config(work: Path) -> Path:
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 16, "epochs": 1}
    for part, most in (("train", 64), ("val", 16)):
        for axis, entry in enumerate(config["dataset"]["dataset_params"][part]):
            entry |= {"image_root": str(work / f"2d_axis_{axis}"), "folds_path": str(work / "folds.csv")}
            entry["max_dataset_size"] = most
    write_config(work / "simclr_config.yaml", config)
    return work / "simclr_config.yaml"


def axis_configs(work: Path, axis: int, weights: Path) -> tuple[Path, Path]:
    folder = work / f"axis_{axis}"
    train = read_config(PACKAGE / "configs" / "embedded" / f"axis_{axis}" / "train_config.yaml")
    train |= {
        "checkpoint_root": str(folder / "checkpoints"),
        "log_root": str(folder / "logs"),
        "initial_image_res": SIDE,
        "iters_per_res": {SIDE: {"stab": STEPS}},
        "val_iter": STEPS // 2,
        "image_sample_iter": STEPS,
        "verbose": False,
    }
    for part in ("train", "val"):
        kwargs = train[f"{part}_dataset"]["dataset_kwargs"]
        kwargs |= {"image_root": str(work / f"2d_axis_{axis}"), "folds_path": str(work / "folds.csv")}
    train["image_rec_loss"]["loss_kwargs"]["path_to_vgg19_weights"] = str(weights)
    inference = read_config(PACKAGE / "configs" / "embedded" / f"axis_{axis}" / "inference_3d_config.yaml")
    inference |= {
        "results_root": str(folder / "results"),
        "test_model_path": str(folder / "checkpoints" / "anomaly_detection.tar"),
    }
    inference["test_image_rec_loss"]["loss_kwargs"]["path_to_vgg19_weights"] = str(weights)
    inference["test_dataset"]["dataset_kwargs"] |= {
        "image_root": str(work / "test_images"),
        "mask_root": str(work / "test_masks"),
        "folds_path": str(work / "folds.csv"),
        "split": "all",
    }
    paths = (folder / "train_config.yaml", folder / "inference_3d_config.yaml")
    for path, config in zip(paths, (train, inference), strict=True):
        write_config(path, config)
    return paths


def same_space(one: Path, other: Path) -> bool:
    a, b = nibabel.load(one), nibabel.load(other)
    return bool(np.array_equal(a.affine, b.affine) and a.shape == b.shape)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

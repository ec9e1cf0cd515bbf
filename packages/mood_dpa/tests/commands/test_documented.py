"""The documented commands, as processes of their own, on phantoms; and the console command."""

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from mood_dpa import cli
from mood_dpa.config_files import read_config, write_config
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import MODEL, RESUME
from ood_shared.contract import COMMON, Common
from ood_shared.results.record import read_result
from ood_shared.results.thumbnails import PICTURES, read_pictures
from ood_shared.testing.ranks import run_ranks

from ..conftest import PACKAGE, SIDE, predict_config, small_inference_config, small_train_config, write_phantoms

UTILS = "anomaly_detection/utils/data"
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


def test_preparation_scripts_run_by_path(tmp_path: Path, run_script) -> None:
    write_phantoms(tmp_path / "in", 3)
    words = ["-i", "in", "-o", "slices", "-a", "1", "-f", "-r", "90"]
    assert run_script(f"{UTILS}/save_2D.py", *words, cwd=tmp_path).status == 0
    found = sorted(path.name for path in (tmp_path / "slices").glob("*.npy"))
    assert found
    assert np.load(tmp_path / "slices" / found[0]).shape == (90, 90)
    words = ["-i", "in", "-o", "folds.csv", "-n", "3", "--seed", "0"]
    assert run_script(f"{UTILS}/create_folds.py", *words, cwd=tmp_path).status == 0
    assert (tmp_path / "folds.csv").read_text().startswith("filename,test_fold\n")
    name = f"{UTILS}/create_val_dataset_with_synthetic_anomalies.py"
    words = ["-i", "in", "-o", "images", "-m", "masks", "-p", "folds.csv", "-f", "0", "--seed", "0"]
    assert run_script(name, *words, cwd=tmp_path).status == 0
    images, masks = (sorted(p.name for p in (tmp_path / kind).iterdir()) for kind in ("images", "masks"))
    assert images == masks
    assert len(images) == 2
    assert images[1].removesuffix(".nii.gz").endswith("_anom")


def test_train_and_inference_run_by_path(prepared: Path, tmp_path: Path, run_script) -> None:
    train = small_train_config(prepared, checkpoint_root="checkpoints", log_root="logs")
    write_config(tmp_path / "train.yaml", train)
    done = run_script("anomaly_detection/main.py", "train", "train.yaml", cwd=tmp_path)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1].endswith("minutes")
    files = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert {"checkpoint.tar", "anomaly_detection.tar", "train_config.yaml", "resume.tar"} <= files
    assert (tmp_path / "logs" / "images" / "sample.png").is_file()
    assert list((tmp_path / "logs" / "tensorboard").rglob("events*"))
    inference = small_inference_config(
        prepared, test_model_path="checkpoints/anomaly_detection.tar", results_root="results"
    )
    write_config(tmp_path / "inference.yaml", inference)
    done = run_script("anomaly_detection/main.py", "inference_evaluate_3d", "inference.yaml", cwd=tmp_path)
    assert done.status == 0, done.err
    results = tmp_path / "results"
    assert (results / "scores.csv").read_text().splitlines()[0] == ",AP,ROC AUC"
    names = sorted(path.name for path in (results / "pixel").iterdir())
    assert names == ["00000.nii.gz", "00000_anom.nii.gz", "00001.nii.gz", "00001_anom.nii.gz"]
    for name in names:
        one, other = (nibabel.load(folder / name) for folder in (results / "pixel", prepared / "images"))
        np.testing.assert_array_equal(one.affine, other.affine)
        assert one.shape == other.shape
        score = float((results / "sample" / f"{name}.txt").read_text())
        assert score == pytest.approx(float(one.get_fdata().max()), rel=1e-6)
        assert (results / "pictures" / f"{name}.png").stat().st_size > 5000
    assert "<html" in (results / "report.html").read_text()


def test_inference_takes_finished_maps_when_it_resumes(prepared: Path, tmp_path: Path, done) -> None:
    write_config(tmp_path / "i.yaml", small_inference_config(prepared, results_root=str(tmp_path / "r")))
    done("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu", "--no-pictures")
    before = (tmp_path / "r" / "scores.csv").read_text()
    (tmp_path / "r" / "pixel" / "00001.nii.gz").unlink()
    done("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu", "--no-pictures", "--resume")
    assert (tmp_path / "r" / "scores.csv").read_text() == before


def test_maps_of_another_model_are_not_taken_for_this_one(prepared: Path, tmp_path: Path, done, run) -> None:
    config = small_inference_config(prepared, results_root=str(tmp_path / "r"))
    words = ["inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu", "--no-pictures"]
    write_config(tmp_path / "i.yaml", config)
    done(*words)
    before = (tmp_path / "r" / "result.json").read_bytes()
    write_config(tmp_path / "i.yaml", config | {"delete_zero_area": not config["delete_zero_area"]})
    assert "were made with another delete_zero_area. Leave --resume out" in run(*words, "--resume").error
    (tmp_path / "r" / "maps.json").unlink()
    write_config(tmp_path / "i.yaml", config)
    assert "what nothing says" in run(*words, "--resume").error
    assert (tmp_path / "r" / "result.json").read_bytes() == before


def test_evaluate_scores_slices(prepared: Path, tmp_path: Path, done) -> None:
    for kind in ("images", "masks"):
        done("save-2d", "-i", prepared / kind, "-o", tmp_path / kind, "-a", 0)
    entry = small_train_config(prepared)["val_dataset"]
    entry["dataset_kwargs"] |= {"image_root": str(tmp_path / "images"), "mask_root": str(tmp_path / "masks")}
    config = {
        **{"verbose": False, "test_batch_size": 7, "results_root": str(tmp_path / "r"), "save_inference": True},
        **{"score_reduction": "mean", "test_dataset": entry},
        "test_model_path": str(prepared / "axis_0/checkpoints/anomaly_detection.tar"),
    }
    write_config(tmp_path / "evaluate.yaml", config)
    done("evaluate", tmp_path / "evaluate.yaml", "--device", "cpu")
    rows = (tmp_path / "r" / "scores.csv").read_text().splitlines()
    sample, pixel = (row.split(",") for row in rows[1:])
    assert sample[2] != pixel[1]  # the published program wrote the pixel AP there
    assert len(list((tmp_path / "r" / "sample").iterdir())) == 4 * SIDE
    assert np.load(next((tmp_path / "r" / "pixel").glob("*.npy"))).shape == (8, 8)


@pytest.mark.parametrize("mode", ["pixel", "sample"])
@pytest.mark.parametrize("task", ["brain", "abdom"])
def test_run_scripts_predict_as_in_the_container(mode: str, task: str, prepared: Path, tmp_path: Path) -> None:
    import subprocess

    workspace = tmp_path / "workspace"
    shutil.copytree(PACKAGE / "submission_data" / "scripts", workspace)
    (workspace / "configs").mkdir()
    shutil.copy(predict_config(prepared, tmp_path), workspace / "configs" / f"{task}_{mode}.yaml")
    write_phantoms(tmp_path / "in", 1)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    import sys

    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    words = ["sh", str(workspace / f"run_{mode}_{task}.sh"), str(tmp_path / "in"), str(tmp_path / "out")]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    name = "00000.nii.gz" if mode == "pixel" else "00000.nii.gz.txt"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_the_prediction_path_needs_no_ood_shared(prepared: Path, tmp_path: Path) -> None:
    """As in the challenge's container, where only this package's folder can be copied."""
    import subprocess
    import sys

    write_phantoms(tmp_path / "in", 1)
    config = predict_config(prepared, tmp_path)
    code = (
        "import sys; sys.modules['ood_shared'] = None\n"
        "from mood_dpa.cli import predict_main\n"
        f"sys.exit(predict_main(['-i', {str(tmp_path / 'in')!r}, '-o', {str(tmp_path / 'out')!r}, '-c', "
        f"{str(config)!r}, '--device', 'cpu']))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    missing = code.replace(str(config), "nowhere.yaml")
    found = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, timeout=120)
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1)


def test_training_of_two_processes_equals_one(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "two/c"), log_root=str(tmp_path / "two/l"))
    write_config(tmp_path / "two.yaml", config)
    script = str(PACKAGE / "anomaly_detection" / "main.py")
    for rank in run_ranks([script, "train", str(tmp_path / "two.yaml"), "--device", "cpu"], cwd=tmp_path):
        assert rank.status == 0, rank.err
    one, two = (
        load_checkpoint(folder / RESUME)["enc"]
        for folder in (prepared / "axis_0" / "checkpoints", tmp_path / "two" / "c")
    )
    for key, value in one.items():
        assert torch.allclose(two[key], value, atol=1e-4), key
    words = ["train", str(tmp_path / "two.yaml"), "--device", "cpu", "--resume"]
    assert "was written by 2 processes, now there is 1" in run(*words).error
    for rank in run_ranks([script, *words], cwd=tmp_path):
        assert rank.status == 0, rank.err


def test_inference_of_two_processes_equals_one(prepared: Path, tmp_path: Path, done) -> None:
    for name in ("one", "two"):
        config = small_inference_config(prepared, results_root=str(tmp_path / name), save_inference=False)
        write_config(tmp_path / f"{name}.yaml", config)
    done("inference_evaluate_3d", tmp_path / "one.yaml", "--device", "cpu", "--no-pictures")
    script = str(PACKAGE / "anomaly_detection" / "main.py")
    words = [script, "inference_evaluate_3d", str(tmp_path / "two.yaml"), "--device", "cpu", "--no-pictures"]
    for rank in run_ranks(words, cwd=tmp_path):
        assert rank.status == 0, rank.err
    assert (tmp_path / "one" / "scores.csv").read_text() == (tmp_path / "two" / "scores.csv").read_text()


def test_simclr_resumed_equals_simclr_unbroken(prepared: Path, tmp_path: Path, done) -> None:
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 4, "epochs": 1, "model": {"base_model": "resnet18", "out_dim": 8}}
    config["warmup_steps"] = 3  # ends in the second epoch
    params = config["dataset"]["dataset_params"]
    for part in ("train", "val"):
        params[part] = params[part][:1]
        params[part][0] |= {"image_root": str(prepared / "2d_axis_0"), "folds_path": str(prepared / "folds.csv")}
        params[part][0]["max_dataset_size"] = 8
    write_config(tmp_path / "short.yaml", config)
    done("simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "runs", "--device", "cpu")
    write_config(tmp_path / "short.yaml", {**config, "epochs": 2})
    done("simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "runs", "--device", "cpu", "--resume")
    folder = tmp_path / "runs" / "short"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"model.pth", "config.yaml"}
    done("simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "whole", "--device", "cpu")
    one, two = (load_checkpoint(at / "checkpoint.pt")["network"] for at in (folder, tmp_path / "whole" / "short"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_simclr_resumed_with_another_rate_is_refused(prepared: Path, tmp_path: Path, done, run) -> None:
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 4, "epochs": 1, "model": {"base_model": "resnet18", "out_dim": 8}}
    params = config["dataset"]["dataset_params"]
    for part in ("train", "val"):
        params[part] = params[part][:1]
        params[part][0] |= {"image_root": str(prepared / "2d_axis_0"), "folds_path": str(prepared / "folds.csv")}
        params[part][0]["max_dataset_size"] = 8
    words = ("simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "runs", "--device", "cpu")
    write_config(tmp_path / "short.yaml", config)
    done(*words)
    before = (tmp_path / "runs" / "short" / "config.json").read_bytes()
    write_config(tmp_path / "short.yaml", {**config, "epochs": 2, "lr": 3e-5})
    found = run(*words, "--resume")
    assert found.status == 2
    assert "was started with lr = 2e-05, now it is 3e-05" in found.error
    assert (tmp_path / "runs" / "short" / "config.json").read_bytes() == before


def test_bench_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done) -> None:
    from mood_dpa import bench

    monkeypatch.setitem(bench.SCHEDULES, "smoke", bench.Schedule(64, 32, 0, 3, 4, 4, "r11", 1e-3, 8, 4))
    monkeypatch.setitem(COMMON, "smoke", Common(48, 24, 3, 8, "smallresnet10"))
    words = ["--ood", "gaussian,textures", "--budget", "smoke", "--device", "cpu"]
    done("bench", "--id", "digits", *words, "--output-dir", tmp_path / "images")
    record, scores = read_result(tmp_path / "images")
    assert record["id_accuracy"] is None
    assert (scores["predictions"] == -1).all()
    assert record["config"]["n_train"] == 48
    assert list(read_pictures(tmp_path / "images", scores).sets) == ["digits", "gaussian", "textures"]
    words[1] = "synthetic"
    done("bench", "--id", "mni152", *words, "--output-dir", tmp_path / "volumes")
    record, _ = read_result(tmp_path / "volumes")
    assert record["ood_datasets"] == ["synthetic"]
    assert record["config"]["backbone"] == "autoencoder"
    assert not (tmp_path / "volumes" / PICTURES).exists()


def test_challenge_scores_predictions(prepared: Path, done) -> None:
    assert "AP 1.0" in done("challenge", prepared / "masks", prepared / "masks").out


def test_help_does_not_wait_for_torch(run_script, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; from mood_dpa import cli\ntry: cli.main_main(['--help'])\nexcept SystemExit: pass\n"
    found = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command: str, run) -> None:
    assert run(command, "--help").status == 0


@pytest.mark.gpu
@NEEDS_CUDA
def test_a_gpu_gives_the_maps_of_the_cpu(prepared: Path, tmp_path: Path, done) -> None:
    for name in ("cpu", "cuda"):
        write_config(tmp_path / f"{name}.yaml", small_inference_config(prepared, results_root=str(tmp_path / name)))
        done("inference_evaluate_3d", tmp_path / f"{name}.yaml", "--device", name, "--no-pictures")
    for path in (tmp_path / "cpu" / "pixel").iterdir():
        one, two = (nibabel.load(tmp_path / name / "pixel" / path.name).get_fdata() for name in ("cpu", "cuda"))
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-3 * one.max())


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("flags", [[], ["--precision", "bf16"], ["--precision", "bf16", "--compile"]])
def test_training_runs_on_a_gpu(flags: list[str], prepared: Path, tmp_path: Path, done) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    weights = {res: {"img_weight": 0, "feature_weights": {"r11": 1}} for res in (4, 8)}
    kwargs = {"weights_per_resolution": weights, "normalize_to_vgg_input": False}
    config["image_rec_loss"] = {"loss_type": "relative_perceptual_L1", "loss_kwargs": kwargs}
    write_config(tmp_path / "t.yaml", config)
    done("train", tmp_path / "t.yaml", "--device", "cuda", *flags)
    assert (tmp_path / "c" / MODEL).is_file()

"""The four steps on a GPU."""

from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.results.record import read_result

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_four_steps_run_on_a_gpu_without_a_warning(done, place, precision):
    flags = ("--gpu_id", "0", "--seed", "1")
    outcomes = [done("train_vae", "--epochs", "2", "--batch_size", "12", "--precision", precision, *flags)]
    outcomes += [done("gen_ood", "--dataset", split, *flags) for split in ("train", "test")]
    outcomes += [done("train_classi", "--epochs", "2", "--batch_size", "24", "--precision", precision, *flags)]
    outcomes += [done("test", "--precision", precision, *flags)]
    assert [found.err for found in outcomes] == [""] * 5
    for step in ("vae", "classifer"):
        weights = checkpoints.load(Path("result", step, "model.pth"))
        assert all(value.isfinite().all() and value.device.type == "cpu" for value in weights.values())
    result, _ = read_result(Path("result"))
    assert result["hardware"]["accelerator"]
    assert result["peak_memory_bytes"] > 0


def test_a_run_is_resumed_on_a_gpu(done, place):
    flags = ("--batch_size", "12", "--seed", "1", "--device", "cuda")
    done("train_vae", "--epochs", "1", *flags)
    done("train_vae", "--epochs", "2", "--resume", *flags)
    assert sorted(path.name for path in Path("result/vae").glob("*.pth")) == ["model.pth", "model_1.pth", "model_2.pth"]


def test_the_paper_runs_on_a_gpu(done, place):
    flags = ("--mode", "paper", "--seed", "1", "--device", "cuda")
    done("train_vae", "--epochs", "1", *flags)
    done("gen_ood", "--dataset", "test", *flags)
    done("train_classi", "--epochs", "2", *flags)
    done("test", "--out_data", "sphere", *flags)


def test_a_network_trained_on_a_gpu_scores_the_same_on_the_cpu(done, trained):
    scores = []
    for device in ("cuda", "cpu"):
        done("test", "--device", device, "--seed", "1")
        scores.append(read_result(Path("result"))[1]["scores"])
    assert scores[0] == pytest.approx(scores[1], abs=5e-3)  # convolutions in TF32 have 10 bits

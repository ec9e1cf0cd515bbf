import random

import numpy as np
import pytest
import torch
from ood_shared import devices
from ood_shared.devices import autocast, maybe_compile, peak_memory, resolve_device, seed_everything
from ood_shared.errors import InputError


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_an_original_gpu_flag_falls_back_with_one_warning(without_gpu, capsys):
    assert resolve_device("auto", gpu="0,1") == torch.device("cpu")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("gpu", ["", "-1", "cpu"])
def test_gpu_minus_one_means_cpu_without_a_warning(without_gpu, capsys, gpu):
    assert resolve_device("auto", gpu=gpu) == torch.device("cpu")
    assert not capsys.readouterr().err


def test_device_wins_over_the_gpu_flag(without_gpu, capsys):
    assert resolve_device("cpu", gpu="0") == torch.device("cpu")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "tpu", "xla", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(without_gpu, name):
    with pytest.raises(InputError, match=name):
        resolve_device(name)


@pytest.mark.parametrize("gpu", ["first", "0,first"])
def test_a_gpu_flag_that_is_no_number_is_refused(without_gpu, gpu):
    with pytest.raises(InputError, match="first"):
        resolve_device("auto", gpu=gpu)


def test_bf16_runs_the_forward_pass_in_bf16():
    layer = torch.nn.Linear(2, 2)
    with autocast(torch.device("cpu"), "bf16"):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "fp32"):
        assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="fp8"):
        autocast(torch.device("cpu"), "fp8")


def test_a_seed_decides_every_global_generator():
    drawn = []
    for _ in range(2):
        assert seed_everything(3) == 3
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_without_a_seed_two_runs_differ():
    assert seed_everything(None) != seed_everything(None)


def test_compile_is_only_used_when_asked_for():
    layer = torch.nn.Linear(2, 2)
    assert maybe_compile(layer, False) is layer


def test_peak_memory_covers_what_was_allocated():
    held = torch.ones(8_000_000)
    assert peak_memory(torch.device("cpu")) > held.numel() * 4


def test_peak_memory_is_not_made_up_where_the_system_does_not_tell_it(monkeypatch):
    monkeypatch.setattr(devices, "resource", None)
    assert peak_memory(torch.device("cpu")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_flag_names_a_gpu():
    assert resolve_device("auto", gpu="0") == torch.device("cuda", 0)


def test_tuned_convolutions_are_tuned_inside_the_block_only():
    before = torch.backends.cudnn.benchmark
    with devices.tuned_convolutions():
        assert torch.backends.cudnn.benchmark
        with devices.tuned_convolutions(wanted=False):
            assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


def test_what_is_sent_to_the_cpu_stays_what_it_is():
    values = torch.arange(3)
    assert devices.send(values, torch.device("cpu")) is values

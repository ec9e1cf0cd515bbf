"""Which implementation of an optimizer's step is asked for, and that a run goes on after a change of device."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from ood_shared import optimizers
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

ADAM, SGD, RMSPROP, ADADELTA = torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adadelta
SETTINGS: dict[Any, dict[str, Any]] = {SGD: {"momentum": 0.9, "nesterov": True}, ADAM: {"weight_decay": 0.01}}
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("kind", [ADAM, torch.optim.AdamW, SGD])
def test_one_kernel_steps_where_there_is_one(kind: Any) -> None:
    assert optimizers.implementation(kind, [GPU, GPU]) == {"fused": True}


@pytest.mark.parametrize("kind", [RMSPROP, ADADELTA])
def test_the_others_step_all_weights_at_once(kind: Any) -> None:
    assert optimizers.implementation(kind, [GPU]) == {"foreach": True}


@pytest.mark.parametrize("devices", [[CPU], [CPU, GPU], [torch.device("mps")], []])
def test_torch_chooses_elsewhere(devices: list[torch.device]) -> None:
    assert optimizers.implementation(ADAM, devices) == {}


@pytest.mark.parametrize("kind", [ADAM, SGD, RMSPROP, ADADELTA])
def test_torch_takes_what_is_asked_of_it_on_a_gpu(kind: Any) -> None:
    """With tensors that only pretend to lie there."""
    with FakeTensorMode():
        weights = [nn.Parameter(torch.empty(3, device="cuda")) for _ in range(2)]
        groups = [{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.2}]
        made = optimizers.make(kind, groups)
    expected = optimizers.implementation(kind, [GPU])
    assert [{name: group.get(name) for name in expected} for group in made.param_groups] == [expected, expected]


@pytest.mark.parametrize("chosen", ["foreach", "fused", "differentiable"])
def test_what_a_caller_chose_stays(chosen: str) -> None:
    with FakeTensorMode():
        made = optimizers.make(ADAM, [nn.Parameter(torch.empty(3, device="cuda"))], **{chosen: False})
    assert not made.param_groups[0]["fused"]


@pytest.mark.parametrize("kind", [ADAM, SGD, RMSPROP, ADADELTA])
def test_on_a_cpu_it_is_the_optimizer_of_torch_bit_by_bit(kind: Any) -> None:
    plain, ours = nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(plain.state_dict())
    settings = SETTINGS.get(kind, {})
    _steps(plain, kind(plain.parameters(), lr=0.1, **settings))
    made = optimizers.make(kind, ours.parameters(), lr=0.1, **settings)
    _steps(ours, made)
    assert torch.equal(plain.weight, ours.weight)
    assert (
        made.state_dict()["param_groups"] == kind(plain.parameters(), lr=0.1, **settings).state_dict()["param_groups"]
    )


@pytest.mark.parametrize("kind", [ADAM, SGD])
def test_a_run_that_began_on_a_gpu_goes_on_as_a_cpu_does(kind: Any) -> None:
    broken, whole = nn.Linear(3, 2), nn.Linear(3, 2)
    broken.load_state_dict(whole.state_dict())
    first = optimizers.make(kind, whole.parameters(), lr=0.1, **SETTINGS[kind])
    _steps(whole, first)
    state = deepcopy(first.state_dict())  # a file shares no tensors
    for group in state["param_groups"]:
        group |= {"fused": True, "foreach": None}  # as a GPU would have written it
    broken.load_state_dict(whole.state_dict())
    second = optimizers.make(kind, broken.parameters(), lr=9.0, **SETTINGS[kind])
    second.load_state_dict(state)
    assert [(group["lr"], group["fused"]) for group in second.param_groups] == [(0.1, None)]
    _steps(whole, first)
    _steps(broken, second)
    assert torch.equal(broken.weight, whole.weight)


@pytest.mark.parametrize("kind", [ADAM, SGD])
def test_a_run_that_began_on_a_cpu_goes_on_fused(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU has fused steps too, which torch takes only when asked."""
    whole, broken = nn.Linear(3, 2), nn.Linear(3, 2)
    first = optimizers.make(kind, whole.parameters(), lr=0.1, **SETTINGS[kind])
    _steps(whole, first)
    broken.load_state_dict(whole.state_dict())
    monkeypatch.setattr(optimizers, "implementation", lambda kind, devices: {"fused": True})
    second = optimizers.make(kind, broken.parameters(), lr=0.1, **SETTINGS[kind])
    second.load_state_dict(deepcopy(first.state_dict()))
    assert second.param_groups[0]["fused"]
    _steps(whole, first)
    _steps(broken, second)
    torch.testing.assert_close(broken.weight, whole.weight)


def test_a_state_of_another_network_is_still_refused() -> None:
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    groups = [{"params": [weight]} for weight in two.parameters()]
    with pytest.raises(ValueError, match="parameter group"):
        optimizers.make(ADAM, one.parameters()).load_state_dict(ADAM(groups).state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [ADAM, SGD, RMSPROP, ADADELTA])
def test_a_run_that_changes_its_device_twice_is_the_run_that_did_not(kind: Any) -> None:
    whole = nn.Linear(3, 2)
    moving, settings = deepcopy(whole), SETTINGS.get(kind, {})
    first = optimizers.make(kind, whole.parameters(), lr=0.1, **settings)
    state = None
    for device in ("cpu", "cuda", "cpu"):
        moving = moving.to(device)
        now = optimizers.make(kind, moving.parameters(), lr=0.1, **settings)
        if state is not None:
            now.load_state_dict(state)
        _steps(moving, now)
        _steps(whole, first)
        state = deepcopy(now.state_dict())
    torch.testing.assert_close(moving.weight, whole.weight)


def _steps(network: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    for step in range(3):
        optimizer.zero_grad()
        images: Tensor = torch.arange(6.0, device=network.weight.device).reshape(2, 3) + step
        network(images).square().sum().backward()
        optimizer.step()

"""A SimCLR run whose views have all become alike stops and says why; one that learns goes on."""

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mood_dpa import simclr_train, within_budget
from mood_dpa.collapse import PATIENCE, CollapseWatch
from mood_dpa.config_files import read_config, write_config
from mood_dpa.simclr import nt_xent, warmed
from mood_dpa.simclr_settings import simclr_config
from mood_dpa.standalone import load_checkpoint
from ood_shared.errors import InputError
from ood_shared.training import Compute
from sklearn.datasets import load_digits

from ..conftest import PACKAGE

CPU = torch.device("cpu")


def watch() -> CollapseWatch:
    return CollapseWatch(CPU, 3e-4, 0, "here")


def unit(z: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(z, dim=1)


def views(spread: float, seed: int, n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views that differ from one direction by a share `spread`."""
    draws = torch.Generator().manual_seed(seed)
    base = torch.ones(16)
    return tuple(unit(base + spread * torch.randn(n, 16, generator=draws)) for _ in range(2))  # type: ignore[return-value]


def short_config(prepared: Path, **changes: Any) -> dict[str, Any]:
    """48 slices, 3 in a batch."""
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 3, "epochs": 1, **changes}
    params = config["dataset"]["dataset_params"]
    for part in ("train", "val"):
        params[part] = params[part][:1]
        params[part][0] |= {"image_root": str(prepared / "2d_axis_0"), "folds_path": str(prepared / "folds.csv")}
    params["val"][0]["max_dataset_size"] = 3
    return config


def test_ten_steps_without_contrast_stop_the_run_in_one_line() -> None:
    found = watch()
    for step in range(PATIENCE):
        found.check(step)
        one, two = views(1e-4, step)
        found.add(nt_xent(one, two), one, two)
    with pytest.raises(InputError, match=r"ln\(2N-1\) = 2\.7081.*Lower lr \(now 0\.0003.*warmup_steps") as caught:
        found.check(PATIENCE)
    assert "\n" not in str(caught.value)


def test_a_network_that_has_not_begun_to_learn_goes_on() -> None:
    """Its loss is near that of chance, too, but its views differ: the mean cosine of random VGG19s is about 0.99."""
    found = watch()
    for step in range(5 * PATIENCE):
        one, two = views(0.1, step)
        found.add(torch.tensor(math.log(15)), one, two)
        found.check(step)


def test_one_step_with_contrast_begins_the_count_anew() -> None:
    found = watch()
    for step in range(5 * PATIENCE):
        one, two = views(1.0 if step % PATIENCE == PATIENCE - 1 else 1e-4, step)
        found.add(nt_xent(one, two), one, two)
        found.check(step, now=True)


def test_the_count_goes_on_after_a_resumption() -> None:
    first, second = watch(), watch()
    for step in range(PATIENCE):
        if step == 6:
            second.load_state_dict(first.state_dict())
        one, two = views(1e-4, step)
        (first if step < 6 else second).add(nt_xent(one, two), one, two)
    with pytest.raises(InputError, match="collapsed"):
        second.check(PATIENCE)


def test_a_single_slice_has_no_chance_to_be_at() -> None:
    found = watch()
    for step in range(3 * PATIENCE):
        one = torch.ones(1, 4) / 2
        found.add(nt_xent(one, one), one, one)
        found.check(step)


def test_the_rate_rises_linearly_and_stays() -> None:
    assert [warmed(1.0, step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warmed(0.3, 0, 0) == 0.3


def test_rate_and_warm_up_are_the_published_ones_by_default() -> None:
    found = simclr_config(read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml") | {"lr": "3e-4"})
    assert found["lr"] == 3e-4  # YAML reads it as text
    published = read_config(PACKAGE / "configs" / "simclr_exp_1.yaml")
    published["dataset"] = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")["dataset"]
    found = simclr_config(published)
    assert (found["lr"], found["warmup_steps"]) == (3e-4, 0)


@pytest.mark.parametrize(
    "wrong", [{"lr": "fast"}, {"lr": 0}, {"lr": -1e-4}, {"warmup_steps": -1}, {"warmup_steps": 2.5}]
)
def test_a_wrong_rate_or_warm_up_is_named(wrong: dict[str, Any]) -> None:
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} is "):
        simclr_config(config | wrong)


@pytest.mark.parametrize(
    ("rate", "warmup", "collapses"), [(3e-4, 0, True), (within_budget.SIMCLR_RATE, within_budget.SIMCLR_WARMUP, False)]
)
def test_vgg19_collapses_at_the_published_rate_and_not_at_ours(
    rate: float, warmup: int, collapses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within_budget, "SIMCLR_RATE", rate)
    monkeypatch.setattr(within_budget, "SIMCLR_WARMUP", warmup)
    slices = torch.from_numpy(load_digits().images[:8]).float()[:, None] / 16
    slices = torch.nn.functional.interpolate(slices, (32, 32), mode="bilinear")
    torch.manual_seed(0)
    with pytest.raises(InputError, match="collapsed") if collapses else nullcontext():
        within_budget.pretrained(slices, 16, torch.Generator().manual_seed(0), Compute(CPU))


class Brightness(torch.nn.Module):
    """A network of one layer that sees the mean of an image, and nothing when `blind`."""

    blind = False

    def __init__(self, base_model: str, out_dim: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, out_dim)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = images.mean((2, 3))
        return h, self.layer(h * (not self.blind))


def test_a_run_that_collapses_stops_in_one_line_and_loses_nothing(
    prepared: Path, tmp_path: Path, run, done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simclr_train, "SimCLR", Brightness)
    words = ["simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "runs", "--device", "cpu"]
    write_config(tmp_path / "short.yaml", short_config(prepared))
    done(*words)
    folder = tmp_path / "runs" / "short"
    assert load_checkpoint(folder / "checkpoint.pt")["ranks"][0]["watch"]["longest"] < PATIENCE
    before = {name: (folder / name).read_bytes() for name in ("checkpoint.pt", "checkpoints/model.pth")}
    write_config(tmp_path / "short.yaml", short_config(prepared, epochs=2))
    monkeypatch.setattr(Brightness, "blind", True)
    found = run(*words, "--resume")
    assert "collapsed" in found.error
    assert "Lower lr (now 2e-05;" in found.error
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("lr", value) for value in (float("inf"), float("nan"), True, 0, "fast")),
        *(("epochs", value) for value in ("x", 0, True)),
        *(("batch_size", value) for value in ("x", 0, 1)),
        ("warmup_steps", True),
        ("warmup_steps", -1),
    ],
)
def test_a_number_that_cannot_be_right_is_refused_by_its_key(key: str, value: object) -> None:
    config = {**read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml"), key: value}
    with pytest.raises(InputError, match=f"^{key} is "):
        simclr_config(config)

"""Two processes that work together, and one that works alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ood_shared import distributed
from ood_shared.errors import InputError
from ood_shared.runs import Run
from ood_shared.testing.ranks import launcher_variables, run_ranks
from torch import nn

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    ranks = run_ranks([str(SCRIPT)])
    assert [rank.status for rank in ranks] == [0, 0], ranks
    return [json.loads(rank.out) for rank in ranks]


def test_ranks_know_their_numbers_and_one_of_them_is_main(found: list[dict[str, Any]]) -> None:
    assert [(one["rank"], one["world"], one["main"]) for one in found] == [(0, 2, True), (1, 2, False)]


def test_all_start_from_the_weights_of_rank_0(found: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    assert found[0]["start"] == found[1]["start"] == nn.Linear(3, 2).weight.tolist()


def test_gradients_are_the_mean_over_the_ranks(found: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    halves = torch.arange(12.0).reshape(4, 3).square().split(2)
    (sum(net(x).square().sum() for x in halves) / 2).backward()
    for one in found:
        torch.testing.assert_close(torch.tensor(one["gradient"]), net.weight.grad)
        assert one["untouched"]


def test_shards_are_equally_long_and_repeat_from_the_start(found: list[dict[str, Any]]) -> None:
    assert [one["shard"] for one in found] == [[0, 2, 4], [1, 3, 0]]
    assert [one["short"] for one in found] == [[7], [7]]


def test_gathered_rows_are_in_order_without_the_repeated_ones(found: list[dict[str, Any]]) -> None:
    assert [one["rows"] for one in found] == [[0, 10, 20, 30, 40]] * 2


def test_gathered_batches_and_objects_are_those_of_all_ranks(found: list[dict[str, Any]]) -> None:
    assert [one["batch"] for one in found] == [[0, 10, 1, 11]] * 2
    assert [one["objects"] for one in found] == [[{"rank": 0}, {"rank": 1}]] * 2


def test_sums_and_flags_count_every_rank(found: list[dict[str, Any]]) -> None:
    assert [(one["sum"], one["any"], one["none"]) for one in found] == [(3, True, False)] * 2


def test_a_lost_rank_is_a_clear_error() -> None:
    rank = run_ranks([str(SCRIPT), "lose"])[0]
    assert rank.status != 0
    assert "lost the other processes" in rank.err


def test_a_single_process_changes_nothing() -> None:
    net = nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    before = net.weight.grad.clone()
    with distributed.setup(torch.device("cpu")) as device:
        distributed.broadcast(net)
        distributed.average_gradients(net)
        assert device == torch.device("cpu")
    assert torch.equal(net.weight.grad, before)
    assert distributed.shard(torch.arange(3)).tolist() == [0, 1, 2]
    assert distributed.gather_rows(torch.arange(4), 3).tolist() == [0, 1, 2]
    assert distributed.gather_objects("x") == ["x"]
    assert distributed.on_any_rank(True, device)


def test_missing_variables_of_the_launcher_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="RANK is not"), distributed.setup(torch.device("cpu")):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in launcher_variables(1, 2, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(InputError, match=r"has no GPU: there are 1\. .*--nproc-per-node 1"),
        distributed.setup(torch.device("cuda")),
    ):
        pass


def test_only_rank_0_writes_a_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    run = Run(tmp_path / "run", {"seed": 1}, log_to="tensorboard")
    run.log({"epoch": 1})
    run.close()
    assert not (tmp_path / "run").exists()


def test_importing_it_joins_nothing() -> None:
    code = "import ood_shared.distributed, torch.distributed as d; print(d.is_initialized())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"

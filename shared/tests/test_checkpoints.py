import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from ood_shared import checkpoints
from ood_shared.errors import InputError, MissingFileError


class Hostile:
    def __reduce__(self):
        return os.system, ("touch stolen",)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    state = {"w": torch.arange(3.0), "epoch": 4, "history": [{"loss": 0.5}], "none": None}
    checkpoints.save(tmp_path / "c.pt", state)
    found = checkpoints.load(tmp_path / "c.pt")
    assert torch.equal(found.pop("w"), state.pop("w"))
    assert found == state


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a.pt", "b.pt"):
        checkpoints.save(tmp_path / name, {"w": torch.arange(3.0)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a POSIX matter")
def test_a_write_that_the_system_refuses_is_an_oserror_that_names_the_file(tmp_path):
    code = """
import resource, sys, torch
from pathlib import Path
from ood_shared import checkpoints
checkpoints.save(Path("m.pt"), {"w": torch.zeros(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(Path("m.pt"), {"w": torch.zeros(100_000)})
except OSError as error:
    print(error.strerror, error.filename, len(checkpoints.load(Path("m.pt"))["w"]))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout == "File too large m.pt 10\n", run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, monkeypatch, writer):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.pt"
    if writer == "torch":
        torch.save({"w": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="code"):
        checkpoints.load(path)
    assert not (tmp_path / "stolen").exists()


def test_a_checkpoint_that_was_cut_short_anywhere_is_named(tmp_path):
    path = tmp_path / "c.pt"
    checkpoints.save(path, {"w": torch.ones(2000), "more": [torch.ones(300), 1]})
    whole = path.read_bytes()
    for keep in (*range(0, len(whole), 397), len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match=rf"c\.pt is damaged or no checkpoint \(.+\)\. It has {keep} bytes"):
            checkpoints.load(path)


def test_a_missing_checkpoint_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="is missing"):
        checkpoints.load(tmp_path / "c.pt")


def test_a_bare_tensor_is_no_checkpoint(tmp_path):
    torch.save(torch.ones(2), tmp_path / "c.pt")
    with pytest.raises(InputError, match="Tensor"):
        checkpoints.load(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("bias"), "lacks `bias`"),
        (lambda w: w.update(extra=torch.ones(1)), "`extra`"),
        (lambda w: w.update(weight=torch.ones(2, 3)), r"`weight` is \(2, 3\), expected \(2, 2\)"),
        (lambda w: w.update(weight="text"), "`weight` is str"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_first_difference(change, message):
    layer = torch.nn.Linear(2, 2)
    weights = dict(layer.state_dict())
    change(weights)
    with pytest.raises(InputError, match=message):
        checkpoints.load_weights(layer, weights, "file.pth")


def test_variances_below_0_are_refused() -> None:
    norm = torch.nn.BatchNorm2d(2)
    weights = norm.state_dict() | {"running_var": torch.tensor([1.0, -1.0])}
    with pytest.raises(InputError, match=r"file.pth: `running_var` holds variances below 0"):
        checkpoints.load_weights(norm, weights, "file.pth")


def test_the_generators_go_on_where_they_stood(tmp_path):
    checkpoints.save(tmp_path / "c.pt", checkpoints.rng_state())

    def draw():
        return random.random(), random.gauss(0, 1), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    first = draw()
    checkpoints.restore_rng_state(checkpoints.load(tmp_path / "c.pt"))
    assert draw() == first


def test_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert checkpoints.sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_generators_are_left_as_they_were() -> None:
    @checkpoints.kept_generators()
    def draw() -> float:
        torch.manual_seed(1)
        return float(torch.rand(1))

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = draw()
    assert torch.equal(torch.rand(2), expected)
    assert draw() == first


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "a.pt"
    checkpoints.save(path, {"weights": torch.arange(1000.0)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(500.0, 510.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="differs from its checksum"):
        checkpoints.load(path)

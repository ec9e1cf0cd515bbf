"""`imood.load` with arguments that mean nothing, and folders whose description is damaged: one line each."""

import json
import shutil

import imood
import numpy as np
import pytest
import torch
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import load
from ood_shared.errors import InputError


def refused(path, **keywords):
    with pytest.raises(InputError) as caught:
        imood.load(path, device="cpu", **keywords)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"counts": [0] * 10}, "counts is [0, 0,"),
        ({"counts": [5] * 9 + [float("nan")]}, "counts is [5, 5,"),
        ({"counts": [5] * 9 + [float("inf")]}, "counts is [5, 5,"),
        ({"counts": [5] * 9 + [-1]}, "whole numbers from 1 on"),
        ({"counts": [5] * 9 + [0.5]}, "whole numbers from 1 on"),
        ({"counts": "5555555555"}, "counts is '5555555555'"),
        ({"counts": 5}, "counts is 5;"),
        ({"counts": [[1], [2, 3]]}, "counts is [[1], [2, 3]]"),
        ({"tau": -0.5}, "tau is -0.5; expected a finite number from 0 on"),
        ({"tau": "x"}, "tau is 'x'"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"tau": float("inf")}, "tau is inf"),
        ({"tau": True}, "tau is True"),
        ({"native": (0, 5)}, "native is (0, 5); expected (height, width)"),
        ({"native": (5.5, 5)}, "native is (5.5, 5)"),
        ({"native": 32}, "native is 32;"),
        ({"native": (1, 2, 3)}, "native is (1, 2, 3)"),
        ({"side": 0}, "side is 0; the networks take 32 or 224"),
        ({"side": -32}, "side is -32"),
        ({"side": "x"}, "side is 'x'"),
        ({"side": 224}, "side is 224, "),
        ({"native": (16, 16)}, "native is (16, 16), "),
        ({"classes": 1.5}, "classes is 1.5"),
        ({"classes": "abcdefghij"}, "classes is 'abcdefghij'"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(trained, keywords, words):
    assert words in refused(trained, score="ada_bin_disc", **keywords)


def test_a_size_is_refused_for_what_the_folder_says(trained):
    assert f"side is 224, {trained} says 32. Leave side out" in refused(trained, side=224)
    assert f"native is (16, 16), {trained} says None. Leave native out" in refused(trained, native=(16, 16))
    assert imood.load(trained, side=32, device="cpu").inputs == imood.load(trained, device="cpu").inputs


def test_counts_and_tau_that_mean_something_are_taken(trained):
    found = imood.load(trained, score="ada_bin_disc", counts=np.arange(1, 11), tau=1e9, device="cpu").rule
    assert found.counts == tuple(range(1, 11))
    assert {type(count) for count in found.counts} == {int}
    assert found.tau == 1e9


@pytest.mark.parametrize("path", [None, 5, 1.5, True, ["run"], b"run", ""])
def test_what_is_no_path_is_one_line(path):
    assert "is no path; expected the name of a file or folder" in refused(path)


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(trained, tmp_path / "copied")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", None),
        ("counts", "many"),
        ("counts", {}),
        ("counts", []),
        ("counts", [0] * 10),
        ("counts", [1] * 9 + [-1]),
        ("counts", [1] * 9 + ["x"]),
        ("dataset", 5),
        ("model", None),
        ("ood_metric", "mps"),
        ("logit_adjust", "x"),
        ("logit_adjust", -1),
        ("imbalance_ratio", []),
        ("precision", "fp8"),
        ("channels_last", "yes"),
    ],
)
def test_damaged_settings_of_a_run_are_one_line(copied, name, value):
    content = json.loads((copied / "config.json").read_text())
    content["settings"][name] = value
    (copied / "config.json").write_text(json.dumps(content))
    assert f"config.json has {name} {value!r}; expected " in refused(copied)


NOTHING = object()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, NOTHING, f"lack `{name}`") for name in ("fit", "classes", "native", "side")),
        ("fit", 3, "The way `3`"),
        ("fit", ["squeeze"], "The way `['squeeze']`"),
        ("classes", None, "`classes` is None"),
        ("classes", "abc", "`classes` is 'abc'"),
        ("classes", [1, 2], "`classes` is [1, 2]"),
        ("native", 5, "`native` is 5"),
        ("native", [], "`native` is []"),
        ("native", [0, 4], "`native` is [0, 4]"),
        ("side", "x", "side is 'x'"),
        ("side", None, "side is None"),
        ("score", NOTHING, "it lacks `score`"),
        ("score", ["msp"], "`score` is ['msp']"),
        (None, "text", "the inputs are 'text'"),
        (None, [], "the inputs are []"),
    ],
)
def test_a_damaged_record_of_a_detector_is_one_line(copied, name, value, words):
    state = torch.load(copied / "checkpoint.pt")
    if name is None:
        state["detector"] = value
    elif value is NOTHING:
        del state["detector"][name]
    else:
        state["detector"][name] = value
    torch.save(state, copied / "checkpoint.pt")
    line = refused(copied)
    assert words in line
    assert "checkpoint.pt is damaged" in line


def test_the_folder_of_a_fit_is_asked_for_and_its_score_is_not_guessed(tmp_path, monkeypatch):
    monkeypatch.setitem(COMMON, "smoke", Common(200, 40, 2, 32, "smallresnet10"))
    digits = load("digits", "train")
    imood.fit(digits.images[:64], digits.labels[:64], output_dir=tmp_path / "run", device="cpu")
    line = refused(tmp_path / "run" / "latest.pth", classes=10)
    assert "holds a common network (smallresnet10 or smallresnet22)" in line
    assert "Pass the folder" in line
    state = torch.load(tmp_path / "run" / "checkpoint.pt")
    assert state["detector"]["score"] == "bin_disc_joint"
    state["detector"]["score"] = None
    torch.save(state, tmp_path / "run" / "checkpoint.pt")
    assert "its `score` is None" in refused(tmp_path / "run")


@pytest.mark.parametrize("content", ["[]", '{"config": null}', '{"config": {"score": 5}}'])
def test_a_damaged_result_of_an_earlier_bench_is_one_line(copied, content):
    state = torch.load(copied / "checkpoint.pt")
    del state["detector"]
    torch.save(state, copied / "checkpoint.pt")
    (copied / "result.json").write_text(content)
    assert "result.json is damaged" in refused(copied)

"""What a step of training makes a GPU wait for, looked for on the CPU: nothing but what is named here."""

from pathlib import Path

import pytest
from know_your_space import loop
from ood_shared.testing.stalls import stalls_of

TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"
RIGHT = {
    "item in augmix.py, _run_chains": "draws, on the host",
    "item in operators.py, _whole": "draws, on the host",
    "item in operators.py, warp": "draws, on the host",
    "item in outliers.py, convolved_outliers": "draws, on the host",
    "item in queues.py, full": "from when they may be full until they are",
    "item in randconv.py, draw_kernel": "draws, on the host",
    "nonzero in augmix.py, <listcomp>": "draws, on the host",
    "nonzero in jigsaw.py, draw_permutations": "draws, on the host",
    "nonzero in operators.py, _by_table": "draws, on the host",
    "nonzero in operators.py, apply_operators": "draws, on the host",
    "nonzero in outliers.py, pixel_outliers": "draws, on the host",
    "tensor in augmix.py, _run_chains": "draws, on the host",
    "tensor in inliers.py, _jitters": "once",
    "tensor in loaders.py, channel_column": "once",
    "tensor in operators.py, _by_shear_or_translation": "draws, on the host",
    "tensor in operators.py, apply_operators": "draws, on the host",
    "tensor in transforms.py, <genexpr>": "once",
    "tensor in transforms.py, random_affine": "draws, on the host",
}


def test_a_step_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "know_your_space train", loop, "_train_epoch", tmp_path)
    assert found - RIGHT.keys() == set()

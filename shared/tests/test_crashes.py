"""The program that kills trainers: how it is called. What it claims is tested by the packages."""

import json
import sys

from ood_shared.testing import crashes


def test_the_file_may_be_named_from_where_one_stands(tmp_path, monkeypatch, capsys):
    (tmp_path / "crash_trainers.py").write_text("def trainers(place):\n    return {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["crashes", "crash_trainers.py"])
    assert crashes.main() == 0
    assert json.loads(capsys.readouterr().out) == {}

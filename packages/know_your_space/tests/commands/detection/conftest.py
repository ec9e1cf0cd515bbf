"""A working directory as the authors' archive makes it, and `ood_detection.py` in it, with a network of 10 layers."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from know_your_space.cli import detect_main

SCRIPT = Path(__file__).parents[3] / "ood_detection.py"
LOGS = Path("logs/wrn/bloodmnist/in_latent_out_pix")
SHORT = ("--layers", "10", "--device", "cpu", "--no_download")
Run = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, builders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as the authors' archive makes it, with a network of 10 layers; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OOD_DATA_DIR", raising=False)
    builders.write_eight(tmp_path / "data")
    builders.write_checkpoint("bloodmnist", 6)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with a network of 10 layers and without drawing the report; returns what it printed."""
    monkeypatch.setattr("know_your_space.run_files.write_page", lambda *_: None)

    def call(*words: str) -> str:
        capsys.readouterr()
        status = detect_main([*SHORT, *words])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out + captured.err

    return call

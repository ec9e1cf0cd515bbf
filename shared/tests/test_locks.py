"""Run folders: one training at a time, and what a killed one left goes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ood_shared.errors import InputError
from ood_shared.locks import RUN_LOCK, claimed

HOLD = """
import sys, time
from pathlib import Path
from ood_shared.locks import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_in_a_folder_ends_with_one_line(tmp_path):
    with (
        claimed(tmp_path / "run"),
        pytest.raises(InputError, match=r"run is in use by another training \(process \d+ on "),
        claimed(tmp_path / "run"),
    ):
        pass
    with claimed(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_whose_name_no_record_holds_is_refused_before_it_is_made(tmp_path):
    folder = tmp_path / "run\udcff"
    with (
        pytest.raises(InputError, match=r"the folder of the run: the name `\S+run\\xff` is not UTF-8"),
        claimed(folder),
    ):
        pass
    assert not folder.exists()


def test_a_home_folder_that_the_shell_did_not_resolve_is_not_made_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"begins with `~`"), claimed(Path("~/run")):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_training_leaves_no_lock_and_its_leftovers_go(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {process.pid} on"), claimed(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (tmp_path / ".checkpoint.part-abcdefgh.pt").write_bytes(b"half")
    with claimed(tmp_path):
        assert [file.name for file in tmp_path.iterdir()] == [RUN_LOCK]
    assert not list(tmp_path.iterdir())

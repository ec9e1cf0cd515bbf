"""A forked program is what a program of its own would be."""

import os
import signal

import pytest
from ood_shared.testing.commands import clean_environment, finish, start

SHOW = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ.get("MARK"), __name__, "HOME" in os.environ)
print("said", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "of its own" / "show.py"
    path.parent.mkdir()
    path.write_text(SHOW)
    return path


def test_it_has_its_own_words_folder_environment_pipes_and_status(script, tmp_path):
    found = finish(start([str(script), "7", "two words"], tmp_path, {"MARK": "x"}))
    assert (found.status, found.err) == (7, "said\n")
    assert found.out == f"['7', 'two words'] {tmp_path} x __main__ False\n"
    assert "MARK" not in os.environ


def test_a_module_is_found_in_its_folder(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\nprint(sys.argv[1:])\n")
    assert finish(start(["-m", "mine", "a"], tmp_path)).out == "['a']\n"


def test_a_script_imports_what_lies_beside_it(script, tmp_path):
    (script.parent / "beside.py").write_text("NUMBER = 3\n")
    script.write_text("import beside\nprint(beside.NUMBER)\n")
    assert finish(start([str(script)], tmp_path)).out == "3\n"


def test_an_error_shows_its_traceback_and_has_status_1(script):
    script.write_text("1 / 0\n")
    found = finish(start([str(script)]))
    assert found.status == 1
    assert "ZeroDivisionError" in found.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_a_process_of_its_own_that_a_signal_ends(script, number):
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    process = start([str(script)])
    assert int(process.stdout.readline()) == process.pid != os.getpid()
    assert process.poll() is None
    process.send_signal(number)
    assert finish(process).status == -number


def test_more_than_a_pipe_holds_is_read_from_both(script):
    script.write_text("import sys\nsys.stdout.write('a' * 300_000)\nsys.stderr.write('b' * 300_000)\n")
    found = finish(start([str(script)], environment=clean_environment()))
    assert (len(found.out), len(found.err)) == (300_000, 300_000)

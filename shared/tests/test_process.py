import subprocess
import sys

from ood_shared.process import calm_threads


def test_waiting_threads_sleep_unless_the_user_chose_otherwise():
    environment = {}
    calm_threads(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}
    chosen = {"OMP_WAIT_POLICY": "ACTIVE"}
    calm_threads(chosen)
    assert chosen == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_command_lines_are_read_without_torch():
    code = "import sys, ood_shared.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

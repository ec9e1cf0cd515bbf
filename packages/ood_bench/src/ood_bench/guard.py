"""Ends a process group when the program that owns it is gone, also one that was killed and could end nothing itself.

`processes` starts this file as the leader of a group of its own and puts the method into that group. The program holds
the other end of standard input; its end, however it comes, closes that. Signals meant for the method pass by here.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 15.0  # between SIGTERM, which saves, and SIGKILL
POLL_SECONDS = 0.05


def main() -> None:
    """Wait for the owner's end, then end the group and with it this process."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    told = sys.stdin.buffer.read()  # the method's process id, when there was time to send it
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while told and _exists(int(told)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()

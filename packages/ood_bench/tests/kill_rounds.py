"""`ood-bench` killed at random points and resumed until it is complete, time after time; prints JSON.

    python kill_rounds.py SEED TIMES ARGUMENT…

The first time, in `out-0`, is not disturbed; the others are `out-1` and so on. Started by test_bench_kills. Every
attempt is a fork of this process, so that the libraries are imported once.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from ood_bench import command, conclusion

MOST_KILLS = 15  # of one time
LONGEST = 0.5  # a kill comes after at most this share of an undisturbed run


def main() -> None:
    seed, times, *arguments = sys.argv[1:]
    conclusion.page.sections = lambda *_, **__: []  # drawing would take longer than everything else
    draws = random.Random(int(seed))
    start = time.monotonic()
    calm = attempt([*arguments, "--output-dir", "out-0"])
    longest = LONGEST * (time.monotonic() - start)
    rounds = [until_complete([*arguments, "--output-dir", f"out-{n}"], longest, draws) for n in range(1, int(times))]
    print(json.dumps({"calm": calm, "rounds": rounds}))


def until_complete(arguments: list[str], longest: float, draws: random.Random) -> dict[str, object]:
    """Statuses of all attempts, how many results there were after each, and those that were not left as they were."""
    folder, statuses, counts, changed, known = Path(arguments[-1]), [], [], [], {}
    while 0 not in statuses and len(statuses) <= MOST_KILLS:
        after = draws.uniform(0, longest) if len(statuses) < MOST_KILLS else None
        number = draws.choice((signal.SIGKILL, signal.SIGTERM))
        statuses.append(attempt([*arguments, *(["--resume"] if statuses else [])], after, number))
        found = finished(folder)
        changed += [name for name, before in known.items() if found.get(name) != before]
        known |= found
        counts.append(len(found))
    return {"statuses": statuses, "finished": counts, "changed": changed}


def attempt(arguments: list[str], after: float | None = None, number: signal.Signals = signal.SIGKILL) -> int:
    """Run it, with a signal after so many seconds; its exit status, negative when it was killed."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            log = os.open("attempts.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            status = command.main(arguments)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    until = time.monotonic() + (60 if after is None else after)
    while time.monotonic() < until:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, number)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finished(folder: Path) -> dict[str, list[int]]:
    """What tells each result apart from one that was written anew."""
    stats = {str(file): file.stat() for file in sorted(folder.rglob("result.json"))}
    return {name: [stat.st_ino, stat.st_mtime_ns] for name, stat in stats.items()}


if __name__ == "__main__":
    main()

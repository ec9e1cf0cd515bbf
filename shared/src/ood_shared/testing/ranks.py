"""Start a script as several processes of one run, on the CPU, the way `torchrun` does."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_shared.testing.commands import Outcome, clean_environment, finish, start
from ood_shared.testing.forked import Forked


def free_port() -> int:
    """A port that nothing listens to right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launcher_variables(rank: int, count: int, port: int) -> dict[str, str]:
    """The environment variables that `torchrun` sets for a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def start_ranks(
    argv: Sequence[str], count: int = 2, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> list[Forked]:
    """Start `python argv` as `count` processes that find each other.

    Args:
        argv: a script and its arguments, or `-m module …`.
        count: processes.
        cwd: their folder.
        environment: on top of this process's; the GPU is hidden and one thread each is used.
    """
    base, port = clean_environment(**(environment or {})), free_port()
    return [start(argv, cwd, base | launcher_variables(rank, count, port)) for rank in range(count)]


def run_ranks(
    argv: Sequence[str],
    count: int = 2,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> list[Outcome]:
    """As `start_ranks`, and wait: what each process left, by rank."""
    processes = start_ranks(argv, count, cwd, environment)
    try:
        return [finish(process, timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()

"""An environment of its own for every method: the package, what it names, `ood-shared`, and nothing else.

`uv sync` makes it from the workspace of the checkout and keeps it in `.isolated/<distribution>` there, so that it is
quick the next time. A dependency that a package forgot to name shows here, as does one that two packages want
differently.
"""

import os
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError

from ood_bench import processes
from ood_bench.jobs import FindInterpreter, Interpreter, NoInterpreterError, say, tick
from ood_bench.methods import GROUP, Source
from ood_bench.run_folder import Run

FOLDER, SYNC_LOG = ".isolated", "environment.txt"
OWN, BENCH = "ood-shared", "ood-bench"
LEAKS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")  # variables that would bring this environment into another


def own_interpreters(chosen: Sequence[Source]) -> FindInterpreter:
    """Makes the environment of a run when it is asked for, once for all seeds.

    Args:
        chosen: the methods that will run.

    Raises:
        InputError: uv is not found, this is not a checkout, or a method does not come from it.
    """
    uv = _find_uv()
    root, members = _workspace(Path(__file__))
    requests = {source.name: _request(source, root, members) for source in chosen}
    made: dict[str, Interpreter | NoInterpreterError] = {}

    def find(run: Run) -> Interpreter:
        name = run.source.name
        if name not in made:
            made[name] = _make(run, uv, root, requests[name])
        interpreter = made[name]
        if isinstance(interpreter, NoInterpreterError):
            raise interpreter
        return interpreter

    return find


def project() -> Path | None:
    """The folder of the project whose environment this is: around the environment, else the checkout; None for neither.

    `uv run --project` does not say it; an environment may lie elsewhere (`UV_PROJECT_ENVIRONMENT`).
    """
    around = Path(sys.prefix).resolve().parent
    if (around / "pyproject.toml").is_file():
        return around
    try:
        return _workspace(Path(__file__))[0]
    except InputError:
        return None


def _make(run: Run, uv: str, root: Path, request: Sequence[str]) -> Interpreter | NoInterpreterError:
    """Let uv make the environment, or bring the one that is there up to date."""
    place = root / FOLDER / request[0]
    say(f"{run.source.name}: its environment, in {place}")
    environment = {name: value for name, value in os.environ.items() if name not in LEAKS}
    command = [uv, "sync", "--project", str(root), "--python", sys.executable]
    command += ["--exact", "--no-default-groups", "--package", *request]
    log = run.folder / SYNC_LOG
    settings = {**environment, "UV_PROJECT_ENVIRONMENT": str(place)}
    status = processes.run(command, log, settings, tick if sys.stderr.isatty() else None).status
    said = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    if status != 0:
        return NoInterpreterError(f"no environment for {run.source.name}: uv sync, {processes.describe(status)}", said)
    return Interpreter(str(place / "bin" / "python"), LEAKS)


def _find_uv() -> str:
    """The uv that runs this (it says so in `UV`), or the one on the path."""
    for found in (os.environ.get("UV"), shutil.which("uv")):
        if found and Path(found).is_file():
            return found
    raise InputError("--isolated needs uv, which is not found. Install it: pip install uv")


def _workspace(start: Path) -> tuple[Path, list[str]]:
    """The checkout that `start` belongs to, and the names of the distributions in it."""
    for root in start.resolve().parents:
        settings = _read(root / "pyproject.toml").get("tool", {}).get("uv", {}).get("workspace")
        if settings is not None:
            folders = [folder for pattern in settings.get("members", []) for folder in sorted(root.glob(pattern))]
            members = [_read(folder / "pyproject.toml").get("project", {}).get("name") for folder in folders]
            if OWN in members:
                return root, [_normal(name) for name in members if name]
    raise InputError(
        f"--isolated needs a checkout of the repository, but ood-shared is installed in {start.resolve().parents[1]}. "
        "Clone the repository and run there: uv run ood-bench --isolated"
    )


def _request(source: Source, root: Path, members: Sequence[str]) -> tuple[str, ...]:
    """What `uv sync --package` gets."""
    if source.group:
        return (BENCH, "--extra", "baselines")
    if source.module.startswith("ood_bench."):
        return (BENCH,)
    points = metadata.entry_points(group=GROUP)
    names = [_normal(point.dist.name) for point in points if point.name == source.name and point.dist is not None]
    if not names or names[0] not in members:
        raise InputError(
            f"--isolated: the method `{source.name}` is not of the checkout in {root}, so that no environment can be "
            f"made for it. Leave it out with --methods. There: {', '.join(members)}."
        )
    return (names[0],)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return tomllib.load(file)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")

"""Methods of `ood-bench` that train nothing, for tests of everything around them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_bench import command
from ood_shared.results.record import write_result
from ood_shared.testing.results import result

# Without any import of the project, so that it starts quickly: it copies a result that `install` has made.
FAKE_BENCH = """
import argparse, json, pathlib, shutil, subprocess, sys, time

parser = argparse.ArgumentParser()
for flag in ("id", "ood", "seed", "budget", "output-dir", "novel-classes", "device", "data-dir", "precision"):
    parser.add_argument(f"--{flag}")
for flag in ("resume", "compile", "debug"):
    parser.add_argument(f"--{flag}", action="store_true")
options = parser.parse_args()
here, out = pathlib.Path(__file__).parent, pathlib.Path(options.output_dir)
with (here / "calls.txt").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
print(f"training on {options.id}")
behaviour = (here / f"behaviour-{options.seed}.txt").read_text()
if behaviour == "fail":
    print("\\n".join(f"line {n}" for n in range(30)))
    sys.exit("boom: <b>out of memory</b>")
if behaviour == "sleep":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (here / "pid.part").write_text(str(child.pid))
    (here / "pid.part").rename(here / "pid.txt")
    time.sleep(60)
if behaviour != "silent":
    for file in (here / f"stash-{options.seed}").iterdir():
        shutil.copy(file, out / file.name)
if behaviour == "broken":
    (out / "result.json").write_text("{")
"""


def install(
    site: Path, name: str, behaviours: Sequence[str] = ("ok",), bench: str = FAKE_BENCH, **options: Any
) -> Path:
    """A package with an entry point for `ood-bench`; returns its folder.

    Args:
        site: folder on the path of this process and of the methods'.
        name: of package and method.
        behaviours: for each seed from 0 on what it will do: `ok`, `fail`, `sleep`, `broken` or `silent`.
        bench: the text of its module `bench`.
        options: of `result`.
    """
    package = site / name
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bench.py").write_text(bench)
    for seed, behaviour in enumerate(behaviours):
        (package / f"behaviour-{seed}.txt").write_text(behaviour)
        write_result(package / f"stash-{seed}", *result(name, seed, **options))
    about = site / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[ood_shared.bench]\n{name} = {name}.bench\n")
    return package


def calls(package: Path) -> list[list[str]]:
    """The arguments of every start of an installed method."""
    return [json.loads(line) for line in (package / "calls.txt").read_text().splitlines()]


def bench(*arguments: str) -> int:
    """Status of `ood-bench` on two sets of noise; it leaves its files in `out`."""
    return command.main(["--ood", "gaussian,uniform", "--output-dir", "out", *arguments])

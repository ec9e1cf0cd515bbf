"""Daily commands. `uv run nox` runs lint, types and every test; `uv run nox --list` shows the rest.

Every session has an environment of its own with one package and `ood-shared`, synchronised exactly, so that a
dependency which a package forgot to name shows as an import error.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nox

PAPERS = ("mood_dpa", "oodgen", "imood", "ascood", "know_your_space")  # those whose tests take longest begin first
PACKAGES = ("shared", "ood_bench", *PAPERS)
TORCH_PAIR = ("torch==2.13.0", "torchvision==0.28.0")  # one build pair; mixed builds fail on import or far from it
ROOT = Path(__file__).parent
# Names of modules that differ from their distribution's, for deptry, which does not see them installed.
MODULES = (
    "pillow=PIL,scikit-learn=sklearn,scikit-image=skimage,pyyaml=yaml,opencv-python-headless=cv2,"
    "pytorch-ood=pytorch_ood"
)

# What a wheel shows that it can do, from an empty folder; the rest is `tests`.
BENCH = ("bench", "--id", "digits", "--ood", "textures,gaussian", "--budget", "smoke", "--output-dir", "out")
LOADED = "from ood_shared.datasets import load; print(load('digits', 'test').images.shape)"
SHOWN = {
    "shared": (("python", "-c", LOADED),),
    "ood_bench": (
        ("ood-bench", "--version"),
        ("ood-detect", "fit", "digits", "--budget", "smoke", "--no-check", "--output", "model.ood"),
        ("ood-detect", "check", "model.ood", "letters"),
    ),
    "know_your_space": (("know_your_space", "--version"), ("know_your_space", *BENCH)),
    "mood_dpa": (
        ("mood-dpa", "--version"),
        ("mood-dpa", *BENCH),
        ("mood-dpa", "train", "configs/embedded/axis_0/train_config.yaml", "--stop-after", "1"),
    ),
    "ascood": (("ascood", "--version"), ("ascood", *BENCH)),
    "imood": (("imood", "--version"), ("imood", *BENCH)),
    "oodgen": (("oodgen", "--version"), ("oodgen", *BENCH)),
}
NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there: whoever looks for a network fails
OFFLINE = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "side_by_side"]

# Commands under test start many processes; without cached bytecode each would compile torch's Python code anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# On machines that others use, torch's threads must not spin while they wait (ood_shared.process).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def folder(package: str) -> Path:
    return ROOT / "shared" if package == "shared" else ROOT / "packages" / package


def sync(session: nox.Session, package: str, *groups: str) -> None:
    """Make the session's environment hold exactly the package, what it names, and the groups."""
    distribution = "ood-shared" if package == "shared" else package.replace("_", "-")
    flags = [flag for group in groups for flag in ("--group", group)]
    session.run_install(
        *("uv", "sync", "--exact", "--quiet", "--no-default-groups", "--package", distribution, *flags),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def pytest(session: nox.Session, package: str, *arguments: str) -> None:
    """Pytest with a process for each core, at most four; a file's tests stay in one, as they share what they train.

    Files go to them as they stand in the folder: those of `commands`, which take longest, before those of `unit`. By
    the number of tests, as else, the slowest file may come last, and one process waits for the other. The packages
    without such folders keep that.
    """
    session.chdir(folder(package))
    workers = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile"]
    if (folder(package) / "tests" / "commands").is_dir():
        workers.append("--no-loadscope-reorder")
    session.run("python", "-m", "pytest", *workers, *arguments, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format; deptry: imports are declared where they stand; import-linter: the plan of the house."""
    session.run_install(
        *("uv", "sync", "--exact", "--quiet", "--no-default-groups", "--only-group", "lint"),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("python", "tools/reproduction.py", "--check")
    paths = [str(folder(package) / "src") for package in PACKAGES]
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": os.pathsep.join(paths)})
    for package in PACKAGES:
        session.chdir(folder(package))
        session.run("deptry", "src", "--package-module-name-map", MODULES, silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict; in the packages but for what torch leaves untyped."""
    session.run_install(
        *("uv", "sync", "--exact", "--quiet", "--no-default-groups", "--all-packages", "--group", "types"),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )
    session.run("mypy", *(f"{folder(package)}/src" for package in PACKAGES))


@nox.session
@nox.parametrize("package", PACKAGES)
def tests(session: nox.Session, package: str) -> None:
    """All tests of one package, in an environment with nothing else."""
    sync(session, package, "test")
    pytest(session, package, "tests")


@nox.session(venv_backend="none")
def side_by_side(session: nox.Session) -> None:
    """`types` and `tests` of every package, as many at a time as there are cores; arguments go to pytest."""
    words = [*PACKAGES[1:], PACKAGES[0], "types", "--", *session.posargs]
    session.run(sys.executable, "tools/lanes.py", *words, external=True, interrupt_timeout=10.0)  # it ends its sessions


@nox.session(default=False)
@nox.parametrize("package", PACKAGES)
def quick(session: nox.Session, package: str) -> None:
    """What a change of one package needs at once: rules, its types, and its tests but those that start processes."""
    sync(session, package, "test", "types", "lint")
    session.run("ruff", "check", "--quiet", str(folder(package)))
    session.run("ruff", "format", "--check", "--quiet", str(folder(package)))
    session.run("mypy", f"{folder(package)}/src")
    parts = ("tests/unit", "tests/golden", "tests/property", "tests/faults")
    there = [part for part in parts if (Path(folder(package)) / part).is_dir()]
    pytest(session, package, "-m", "not slow", *(there or ["tests"]))


@nox.session(default=False)
@nox.parametrize("package", PAPERS)
def reproduce(session: nox.Session, package: str) -> None:
    """Every training of a package, begun or gone on with; `-- --data DIR`, or the folder in OOD_TEST_DATA."""
    sync(session, package, "test")
    data = ("--data", os.environ["OOD_TEST_DATA"]) if "OOD_TEST_DATA" in os.environ else ()
    session.run("python", "tools/trainings.py", "run", "--package", package, *data, *session.posargs)


@nox.session(default=False)
def notebooks(session: nox.Session) -> None:
    """The notebooks of docs/notebooks, every cell; arguments name some of them."""
    sync(session, "ood_bench", "notebooks")
    paths = session.posargs or sorted(str(path) for path in Path("docs/notebooks").glob("*.ipynb"))
    session.run("python", "tools/run_notebooks.py", *paths)


@nox.session(default=False)
@nox.parametrize("package", PAPERS)
def golden(session: nox.Session, package: str) -> None:
    """Only the golden tests; GOLDEN_DIR puts other vectors in place of the repository's."""
    sync(session, package, "test")
    pytest(session, package, "tests/golden")


@nox.session(default=False)
@nox.parametrize("package", PAPERS)
def commands(session: nox.Session, package: str) -> None:
    """Only the tests that run the README's commands."""
    sync(session, package, "test")
    pytest(session, package, "tests/commands")


@nox.session(default=False)
@nox.parametrize("package", PACKAGES)
def bench(session: nox.Session, package: str) -> None:
    """Speed of the hot paths, as ratios measured in one run."""
    sync(session, package, "test")
    session.chdir(folder(package))
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation site, build/site/index.html; a broken link or anything loaded from a network fails."""
    session.run_install(
        *("uv", "sync", "--exact", "--quiet", "--no-default-groups", "--only-group", "docs"),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )
    session.run("mkdocs", "build", "--strict", "--quiet", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(default=False, venv_backend="none")
@nox.parametrize("package", PACKAGES)
def wheels(session: nox.Session, package: str) -> None:
    """Wheels for publication: all are built and looked into; one is installed by plain pip far from here, and runs.

    Its dependencies come from the configured index, at their newest. Arguments go to pip.
    """
    name = "ood_shared" if package == "shared" else package
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        built, programs = place / "wheels", place / "env" / "bin"
        session.run("uv", "build", "--quiet", "--wheel", "--all-packages", "--out-dir", str(built), external=True)
        session.run(sys.executable, str(ROOT / "tools" / "check_wheels.py"), str(built), external=True)
        session.run(sys.executable, "-m", "venv", str(place / "env"), external=True)
        files = sorted({str(path) for part in ("ood_shared", name) for path in built.glob(f"{part}-*.whl")})
        session.run(str(programs / "pip"), "install", "-qq", *files, *session.posargs, external=True)
        (place / "empty").mkdir()
        session.chdir(place / "empty")
        for program, *words in SHOWN[package]:
            session.run(str(programs / program), *words, env=OFFLINE, external=True)
        session.chdir(ROOT)


@nox.session(default=False, venv_backend="none")
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the pinned packages, known mistakes in the workflow files; needs a network."""
    tool = ("uv", "tool", "run", "--from")
    session.run(*tool, "zizmor", "zizmor", "--config", ".github/zizmor.yml", ".github/workflows", external=True)
    pinned = Path(session.create_tmp()) / "pinned.txt"
    session.run(
        *("uv", "export", "--quiet", "--all-packages", "--all-groups", "--all-extras", "--no-hashes"),
        *("--no-annotate", "--no-header", "--no-emit-workspace", "--output-file", str(pinned)),
        external=True,
        silent=True,
    )
    words = ("--requirement", str(pinned), "--no-deps", "--disable-pip", "--strict")
    session.run(*tool, "pip-audit", "pip-audit", *words, external=True)


@nox.session(default=False, venv_backend="none")
def gpu(session: nox.Session) -> None:
    """The checks that need a CUDA device, with the torch of this machine, in slices; `-- --data DIR`, `-- --help`."""
    session.run("python3", "tools/gpu_checks.py", *session.posargs, external=True)


@nox.session(default=False, venv_backend="none")
def pins(session: nox.Session) -> None:
    """Resolve anew and rewrite the pin list of pyproject.toml: every package, direct or not."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.compile(r"^constraint-dependencies = (\[\]|\[\n.*?^\])", re.M | re.S)
    seeded = 'constraint-dependencies = ["' + '", "'.join(TORCH_PAIR) + '"]'
    try:
        (ROOT / "pyproject.toml").write_text(block.sub(seeded, text))
        session.run_always("uv", "lock", "--upgrade", "--quiet", external=True)
        exported = session.run_always(
            *("uv", "export", "--quiet", "--all-packages", "--all-groups", "--all-extras", "--no-hashes"),
            *("--no-annotate", "--no-header", "--no-emit-workspace"),
            external=True,
            silent=True,
        )
    finally:
        (ROOT / "pyproject.toml").write_text(text)
    lines = "\n".join(f'    "{line.strip()}",' for line in sorted(str(exported).splitlines()) if "==" in line)
    (ROOT / "pyproject.toml").write_text(block.sub(f"constraint-dependencies = [\n{lines}\n]", text))
    session.run_always("uv", "lock", "--quiet", external=True)

"""`ood-bench --isolated`, with a program in the place of uv that notes what it is asked for."""

import json
import os
import sys
from pathlib import Path

import pytest
from ood_bench import command, conclusion, isolated, jobs, methods, run_folder
from ood_shared import locks

from .fakes import calls, install

# It makes "environments" whose Python is this one, and finds the packages of the test on a path that it is not given.
UV = """#!{python}
import json, os, pathlib, sys

place = pathlib.Path(os.environ["UV_PROJECT_ENVIRONMENT"])
here = pathlib.Path(__file__).parent
with (here / "syncs.txt").open("a") as syncs:
    leaks = [name for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME") if name in os.environ]
    syncs.write(json.dumps([sys.argv[1:], str(place), leaks]) + "\\n")
if (here / "refuse").exists() and (here / "refuse").read_text() in sys.argv:
    sys.exit("No solution found when resolving <dependencies>")
python = place / "bin" / "python"
python.parent.mkdir(parents=True, exist_ok=True)
python.write_text(f"#!/bin/sh\\nPYTHONPATH={{here / 'site'}} exec {python} \\"$@\\"\\n")
python.chmod(0o755)
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A workspace whose members are the methods that `install` puts into its folder `site`."""
    site = tmp_path / "site"
    site.mkdir()
    root = tmp_path / "checkout"
    (root / "shared").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["shared", "packages/*"]\n')
    (root / "shared" / "pyproject.toml").write_text('[project]\nname = "ood-shared"\n')
    for name in ("fake-a", "fake-b"):
        (root / "packages" / name).mkdir(parents=True)
        (root / "packages" / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    uv = tmp_path / "uv"
    uv.write_text(UV.format(python=sys.executable))
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("VIRTUAL_ENV", "/of/this/process")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(isolated, "__file__", str(root / "shared" / "src" / "ood_shared" / "bench" / "isolated.py"))
    monkeypatch.setattr(conclusion.page, "sections", lambda *_, **__: [])
    return site


def bench(*arguments):
    return command.main(["--ood", "gaussian", "--output-dir", "out", "--isolated", *arguments])


def syncs():
    return [json.loads(line) for line in Path("syncs.txt").read_text().splitlines()]


def test_every_method_runs_in_an_environment_with_its_package_alone(checkout, tmp_path):
    for name in ("fake_a", "fake_b"):
        install(checkout, name)
    assert bench("--methods", "fake_a,fake_b") == 0
    for (arguments, place, leaks), name in zip(sorted(syncs()), ("fake-a", "fake-b"), strict=True):
        root = tmp_path / "checkout"
        assert arguments[:3] == ["sync", "--project", str(root)]
        assert arguments[-4:] == ["--exact", "--no-default-groups", "--package", name]
        assert (place, leaks) == (str(root / ".isolated" / name), [])
    assert calls(checkout / "fake_a")


def test_all_seeds_share_one_environment_and_finished_ones_need_none(checkout):
    package = install(checkout, "fake_a", behaviours=("ok", "ok", "ok"))
    assert bench("--methods", "fake_a", "--seeds", "3") == 0
    assert len(syncs()) == 1
    assert bench("--methods", "fake_a", "--seeds", "3", "--resume") == 0
    assert (len(syncs()), len(calls(package))) == (1, 3)


def test_a_resumed_method_is_told_so_although_its_environment_is_made_anew(checkout):
    package = install(checkout, "fake_a", behaviours=("fail",))
    assert bench("--methods", "fake_a") == 1
    (package / "behaviour-0.txt").write_text("ok")
    assert bench("--methods", "fake_a", "--resume") == 0
    assert [call[-1] for call in calls(package)] == ["out/fake_a/seed-0", "--resume"]


def test_an_environment_that_cannot_be_made_is_a_failure_of_that_method(checkout, capsys):
    for name in ("fake_a", "fake_b"):
        install(checkout, name, behaviours=("ok", "ok"))
    Path("refuse").write_text("fake-a")
    assert bench("--methods", "fake_a,fake_b", "--seeds", "2") == 1
    said = capsys.readouterr().err
    assert "no environment for fake_a: uv sync, exit status 1" in said
    assert "No solution found when resolving <dependencies>" in said
    for seed in (0, 1):
        log = Path(f"out/fake_a/seed-{seed}/log.txt").read_text()
        assert log.startswith("$ uv sync ")
        assert "No solution found" in log
    runs = json.loads(Path("out/results.json").read_text())["runs"]
    assert [run["status"] for run in runs] == ["failed", "failed", "done", "done"]
    assert "no environment" in runs[0]["failure"][0]
    assert len(syncs()) == 2  # it is not tried again for the other seed


def test_the_baselines_get_shared_with_its_extra(checkout):
    requests = isolated._request(methods._baselines(("msp",)), Path(), ["ood-shared", "ood-bench"])
    assert requests == ("ood-bench", "--extra", "baselines")


def test_what_a_cluster_sets_on_its_node_reaches_the_method(checkout, monkeypatch):
    """Such as the GPUs of a job: the variables are those where the method runs, not where it was submitted."""
    bench_ = "import os, pathlib, sys\n"
    bench_ += "pathlib.Path(__file__).with_name('seen.txt').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
    package = install(checkout, "fake_a", bench=bench_)
    find = isolated.own_interpreters(methods.choose(["fake_a"]))
    run = run_folder.Run(methods.choose(["fake_a"])[0], 0, Path("out"), ())
    interpreter = find(run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with locks.held(run.folder, 0) as lock:
        assert jobs.execute(run, interpreter, lock, None).status == 0
    assert (package / "seen.txt").read_text() == "3"


def one_line(capsys):
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not Path("out").exists()
    return said


def test_without_uv_one_line_says_how_to_get_it(checkout, capsys, monkeypatch):
    install(checkout, "fake_a")
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", "/nowhere")
    assert bench("--methods", "fake_a") == 2
    assert "--isolated needs uv, which is not found. Install it: pip install uv" in one_line(capsys)


def test_outside_of_a_checkout_one_line_says_what_is_needed(checkout, capsys, monkeypatch, tmp_path):
    install(checkout, "fake_a")
    monkeypatch.setattr(isolated, "__file__", str(tmp_path / "site-packages" / "ood_shared" / "bench" / "isolated.py"))
    assert bench("--methods", "fake_a") == 2
    assert f"needs a checkout of the repository, but ood-shared is installed in {tmp_path}/site-packages" in one_line(
        capsys
    )


def test_a_method_from_elsewhere_is_refused_by_name(checkout, capsys):
    install(checkout, "fake_c")
    assert bench("--methods", "fake_c") == 2
    said = one_line(capsys)
    assert "the method `fake_c` is not of the checkout" in said
    assert "There: ood-shared, fake-a, fake-b." in said

"""Bad input of `ood-bench`: one line, status 2, nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest
from ood_bench import command
from PIL import Image

from .fakes import install


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--id", "digitss"], "--id: data set `digitss` is not known. Did you mean `digits`?"),
        (["--ood", "texturs,faces"], "Did you mean `textures`?"),
        (["--id", "./nowhere"], "--id ./nowhere is missing"),
        (["--ood", "faces,,photos"], "separated by single commas"),
        (["--ood", "faces,faces"], "different names"),
        (["--ood", "faces,Digits"], "--ood Digits is the ID set; its images are no outliers. Leave it out."),
        (["--seeds", "0,x"], "`x` is not a seed"),
        (["--seeds", "2", "--seed", "1"], "not allowed with"),
        (["--seeds", "0"], "`0` is not a number of seeds from 1 to 1000. --seed 0 runs once with that seed"),
        (["--seeds", "3,3"], "different names"),
        (["--seeds", "1,01"], "`1,01` names a seed twice"),
        (["--budget", "fast"], "--budget `fast` is not known"),
        (["--launcher", "cluster"], "--launcher `cluster` is not known. Known: local, slurm."),
        (["--slurm", "mem=8G"], "--slurm mem=8G is for --launcher slurm, but the launcher is local."),
    ],
)
def test_bad_input_is_one_line_and_status_2(site, capsys, arguments, said):
    install(site, "fake_a")
    try:
        status = command.main(["--methods", "fake_a", "--output-dir", "out", *arguments])
    except SystemExit as end:
        status = end.code
    errors = capsys.readouterr().err
    assert status == 2
    assert said in errors
    assert errors.count("\n") == 1
    assert not Path("out").exists()


@pytest.fixture
def mine(site, tmp_path):
    """Two classes of three images, and a method."""
    install(site, "fake_a")
    for name in ("a", "b"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 8), 80 * number).save(tmp_path / "mine" / name / f"{number}.png")
    return tmp_path / "mine"


@pytest.mark.parametrize("folder", ["mine", "mine/out"])
@pytest.mark.parametrize("images", [["--id", "mine"], ["--ood", "faces,mine"]])
def test_nothing_is_written_among_the_images(mine, capsys, images, folder):
    before = sorted(mine.rglob("*"))
    assert command.main(["--methods", "fake_a", "--output-dir", folder, *images]) == 2
    assert f"--output-dir {folder} lies in mine, which is read by this command." in capsys.readouterr().err
    assert sorted(mine.rglob("*")) == before


def test_a_folder_is_not_its_own_outliers_however_it_is_written(mine, capsys):
    assert command.main(["--methods", "fake_a", "--output-dir", "out", "--id", "mine", "--ood", f"faces,{mine}"]) == 2
    assert "is the ID set; its images are no outliers" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "--budgett=smoke"])
def test_flags_are_answered_without_torch(flag):
    code = f"import sys\nfrom ood_bench.command import main\ntry:\n    main(['{flag}'])\nfinally:\n"
    code += "    print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "False", ended.stderr


def test_a_name_that_nothing_is_near_to_is_refused_too(capsys):
    assert command.main(["--ood", "svhn_cropped_by_me"]) == 2
    assert "--ood: data set `svhn_cropped_by_me` is not known. Known:" in capsys.readouterr().err


def test_windows_is_refused_in_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.sys, "platform", "win32")
    assert command.main(["--output-dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines() == [f"ood-bench: error: {command.NO_WINDOWS}"]
    assert not (tmp_path / "out").exists()


def test_one_class_of_the_default_set_keeps_no_class_out(site, capsys):
    assert command.main(["--methods", "msp", "--one-class", "--output-dir", "out"]) == 2
    assert "digits has one class, and msp needs two or more." in capsys.readouterr().err
    assert not Path("out").exists()

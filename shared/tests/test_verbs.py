"""The verbs of all packages: flags without torch, and what a run or a set that cannot be used is answered."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ood_shared import calibrating, verbs
from ood_shared.errors import InputError
from ood_shared.testing.commands import call
from PIL import Image


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from ood_shared.verbs import verbs\n"
        "for name, command in verbs('some', 'nowhere', {'score': 'of it', 'data_dir': ''}).items():\n"
        "    try: command(['--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--alarm-rate" in printed
    assert "that the run was not trained on" in printed
    assert "--score WORD" in printed


def images(folder, sides):
    folder.mkdir(parents=True)
    for number, side in enumerate(sides):
        Image.fromarray(np.full((side, side), number, np.uint8)).save(folder / f"{number}.png")


def test_id_images_are_the_test_split_and_never_that_of_training(tmp_path):
    images(tmp_path / "data/train/a", [8, 8, 8])
    images(tmp_path / "data/test/a", [8, 8])
    found, licence = calibrating.id_images(str(tmp_path / "data"), None)
    assert len(found) == 2
    assert "own data" in licence
    (tmp_path / "data/test").rename(tmp_path / "data/val")
    with pytest.raises(InputError, match="test"):
        calibrating.id_images(str(tmp_path / "data"), None)


def test_id_images_of_many_sizes_come_as_their_files(tmp_path):
    images(tmp_path / "data/train/a", [8, 9])
    images(tmp_path / "data/test/a", [8, 9, 10])
    found, _ = calibrating.id_images(str(tmp_path / "data"), None)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [f"data/test/a/{n}.png" for n in range(3)]


@pytest.mark.parametrize("sizes", [[8, 8, 8], [8, 9, 10]])
def test_one_image_of_each_patient_calibrates(tmp_path, capsys, sizes):
    for patient in ("p1", "p2"):
        images(tmp_path / "data" / patient, sizes)
    found, _ = calibrating.id_images(str(tmp_path / "data"), None, "1")
    assert len(found) == 2
    assert "6 images belong to 2 groups; one of each calibrates" in capsys.readouterr().out


def test_a_detector_that_no_file_can_hold_is_refused(monkeypatch, tmp_path):
    module = SimpleNamespace(load=lambda path, device: SimpleNamespace(path=path))
    monkeypatch.setitem(sys.modules, "some.loading", module)
    commands = verbs.verbs("some", "some.loading")
    words = ["run", "--id", "digits", "--output", str(tmp_path / "x.ood")]
    assert "run gives a SimpleNamespace, which cannot be kept in a file" in call(commands["calibrate"], *words).error
    assert not list(tmp_path.iterdir())
    assert "is a folder" in call(commands["calibrate"], *words[:-1], str(tmp_path)).error
    assert "not a share" in call(commands["calibrate"], *words, "--alarm-rate", "5").error
    assert "is missing" in call(commands["score"], str(tmp_path / "x.ood"), "digits", "--csv", "-").error
    assert "is missing" in call(commands["check"], str(tmp_path / "x.ood"), "digits").error

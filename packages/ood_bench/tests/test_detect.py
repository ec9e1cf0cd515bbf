"""`ood-detect` as a newcomer calls it."""

import csv
import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from ood_bench import detect, detect_command
from ood_shared import contract
from ood_shared.datasets import load
from ood_shared.model_file import read_card
from ood_shared.scoring import COLUMNS
from PIL import Image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a detector of the embedded digits and two folders of images."""
    at = tmp_path_factory.mktemp("detect")
    words = ["fit", "digits", "--output", str(at / "model.ood"), "--budget", "smoke", "--alarm-rate", "0.1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contract.COMMON, "smoke", replace(contract.COMMON["smoke"], steps=150))
        assert detect_command.main([*words, "--no-check", "--device", "cpu"]) == 0
    for name in ("digits", "letters"):
        (at / name).mkdir()
        for number, image in enumerate(load(name, "test").images[:40]):
            Image.fromarray(image[..., 0]).save(at / name / f"{number:02d}.png")
    return at


def run(*words: object) -> int:
    return detect_command.main([str(word) for word in words])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_says_what_it_promises(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(contract.COMMON, "smoke", replace(contract.COMMON["smoke"], steps=20))
    monkeypatch.setattr(detect, "SHORT", replace(detect.SHORT, steps=20))
    assert run("fit", "digits", "--output", tmp_path / "m.ood", "--budget", "smoke", "--seed", 1) == 0
    out = capsys.readouterr().out
    assert "images like your calibration images are flagged" in out
    assert "fewer than 200" in out
    assert "nothing was chosen by it" in out
    check = read_card(tmp_path / "m.ood")["about"]["check"]
    assert len(check["auroc"]) == 13  # eleven synthetic kinds, two folds of classes


def test_every_image_gets_a_row_with_a_decision(made, tmp_path, capsys):
    assert run("score", made / "model.ood", made / "digits", made / "letters", "--csv", tmp_path / "out.csv") == 0
    rows = rows_of(tmp_path / "out.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows[:2]] == [str(made / "digits/00.png"), str(made / "digits/01.png")]
    digits, letters = (
        [row["decision"] == "OOD" for row in rows if name in row["file"]] for name in ("digits/", "letters/")
    )
    assert np.mean(digits) < 0.4
    assert np.mean(letters) > 0.8
    assert all(float(row["p_value"]) <= 0.11 for row in rows if row["decision"] == "OOD")
    assert {row["driver"] for row in rows} <= {"joint", "relative", "neighbour", "residual"}
    assert rows[0]["class"] in "0123456789"


def test_what_cannot_be_read_is_a_row_and_status_1(made, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = made / "digits/00.png"
    assert run("score", made / "model.ood", tmp_path / "bad.png", good, "--csv", tmp_path / "out.csv") == 1
    bad, row = rows_of(tmp_path / "out.csv")
    assert (bad["decision"], bad["score"]) == ("unreadable", "")
    assert "damaged or no image" in bad["problem"]
    assert row["decision"] in ("ID", "OOD")
    assert "1 unreadable" in capsys.readouterr().err


def test_a_stopped_run_goes_on_after_its_last_whole_row(made, tmp_path):
    words = ("score", made / "model.ood", made / "letters", "--csv")
    assert run(*words, tmp_path / "whole.csv") == 0
    whole = (tmp_path / "whole.csv").read_bytes()
    (tmp_path / "cut.csv").write_bytes(whole[: len(whole) // 2])  # in the middle of a row
    assert run(*words, tmp_path / "cut.csv", "--resume") == 0
    assert (tmp_path / "cut.csv").read_bytes() == whole
    other = ("score", made / "model.ood", made / "digits", "--csv", tmp_path / "whole.csv", "--resume")
    assert run(*other) == 2


def test_a_list_on_standard_input_and_rows_on_standard_output(made, monkeypatch, capsys):
    names = [str(made / f"digits/{number:02d}.png") for number in (3, 1)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n"))
    assert run("score", made / "model.ood", "-", "--csv", "-") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == names


def test_a_shifted_batch_is_noticed(made, capsys):
    assert run("check", made / "model.ood", made / "letters") == 0
    assert "the batch is shifted" in capsys.readouterr().out
    assert run("check", made / "model.ood", made / "digits") == 0
    assert "not seen to be shifted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "digitss", "--output", "m.ood"), "Did you mean `digits`"),
        (("fit", "digits", "--output", "."), "is a folder"),
        (("fit", "digits", "--output", "m.ood", "--alarm-rate", "2"), "not a share"),
        (("fit", "digits", "--output", "m.ood", "--alarm-rate", "0.001", "--budget", "smoke"), "needs 999"),
        (("score", "none.ood", "x.png", "--csv", "o.csv"), "none.ood is missing"),
        (("check", "none.ood", "x.png"), "none.ood is missing"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    try:
        status = run(*words)
    except SystemExit as ended:  # of the flags
        status = ended.code
    assert status == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert not list(tmp_path.iterdir())


def test_what_is_read_is_not_overwritten(made, capsys):
    model, images = made / "model.ood", made / "letters"
    image = next(images.rglob("*.png"))
    before = model.read_bytes(), image.read_bytes()
    for words in (
        ("score", model, images, "--csv", image),
        ("score", model, images, "--csv", model),
        ("explain", model, image, "--output", image),
        ("export", model, "--output", model),
        ("fit", images, "--output", image),
    ):
        assert run(*words) == 2
        assert "is read by this command and would be overwritten" in capsys.readouterr().err
    assert (model.read_bytes(), image.read_bytes()) == before


def test_help_does_not_wait_for_torch():
    code = "import sys; from ood_bench.detect_command import main\n"
    code += "try: main(['fit', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

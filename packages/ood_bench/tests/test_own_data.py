"""Own data as users have it: no splits, one class, mistyped names, patients; looked at before the first method."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ood_bench import methods
from ood_bench.command import _parser, main
from ood_bench.comparison import compare
from ood_bench.looked_at import look_at
from ood_bench.settings import Comparison
from ood_shared.contract import Request
from ood_shared.errors import InputError
from PIL import Image

from .fakes import install

RANDOM = np.random.default_rng(0)


def tree(root: Path, classes: str | list[str] = "abc", parts: tuple[str, ...] = ("train", "test"), n: int = 10) -> Path:
    for part in parts:
        for name in classes:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(n):
                Image.fromarray(RANDOM.integers(0, 256, (8, 8)).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def asked(*words: str) -> Comparison:
    return Comparison.from_options(_parser().parse_args([*words, "--output-dir", "out"]))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tree(Path("o"), "z", ("test",))
    return tmp_path


def test_class_folders_without_a_split_are_split_and_said(place: Path) -> None:
    tree(Path("n"), parts=(".",))
    looked = look_at(asked("--id", "n", "--ood", "o"))
    assert looked.classes == ("a", "b", "c")
    (note,) = looked.notes
    assert note.startswith("n: no split into train and test: split by seed 0 within each class, 24 images (80 %)")
    several = look_at(asked("--id", "n", "--ood", "o", "--seeds", "2"))
    assert "by the seed of each run" in several.notes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--id", "nn", "--ood", "o"], "--id: data set `nn` is not known"),
        (["--id", "n", "--ood", "o,texturez"], "--ood: data set `texturez` is not known. Did you mean `textures`?"),
        (["--id", "./nn", "--ood", "o"], "--id ./nn is missing; expected images. Did you mean `n`?"),
        (["--id", "~nouser/x", "--ood", "o"], "home folder of a user who is not known here"),
        (["--id", "n", "--ood", "empty"], "empty holds no images"),
        (["--id", "n", "--ood", "fifo.npz"], "fifo.npz is a pipe"),
        (
            ["--id", "n", "--ood", "o", "--group", "9"],
            "--group 9: a/0.png lies in 1 folder(s) below the set; expected a level from 1 to 1.",
        ),
        (["--id", "n", "--ood", "o", "--group", "gone.csv"], "--group gone.csv is missing"),
        (["--id", "n", "--ood", "o", "--value-range", "9,3"], "--value-range `9,3`: expected LOW,HIGH"),
        (["--id", "n", "--ood", "o", "--novel-classes", "cat"], "Class `cat` is not known"),
        (["--id", "n", "--ood", "o", "--novel-classes", "a,b"], "leaves 1 of the classes"),
        (["--id", "few", "--ood", "o"], "its class `a` has 1 image(s)"),
        (["--id", "bad", "--ood", "o"], "0.png is damaged or no image"),
        (["--id", "half", "--ood", "o"], "class `c` has no images to train on"),
    ],
)
def test_what_no_method_can_use_ends_at_once(place: Path, capsys, words: list[str], said: str) -> None:
    import os

    tree(Path("n"), parts=(".",))
    tree(Path("few"), parts=(".",), n=1)
    tree(Path("half"))
    for path in Path("half/train/c").iterdir():
        path.unlink()
    Path("half/train/c").rmdir()
    Path("bad/test/a").mkdir(parents=True)
    Path("bad/test/a/0.png").write_bytes(b"no image")
    Path("empty").mkdir()
    os.mkfifo("fifo.npz")
    assert main([*words, "--output-dir", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("out").exists()


def test_folders_below_a_single_class_folder_are_said_to_be_classes(place: Path) -> None:
    tree(Path("w/normal"), ["p1", "p2", "p3"], parts=(".",))
    notes = look_at(asked("--id", "w", "--ood", "o")).notes
    assert "`normal` is the only folder, so the 3 folders in it are read as classes (p1, p2, p3)" in notes[0]
    assert "--one-class" in notes[0]
    one = look_at(asked("--id", "w", "--ood", "o", "--one-class", "--group", "2"))
    assert one.classes is not None
    assert len(one.classes) == 1
    assert "images of each of 3 groups on one side" in one.notes[-1]


def test_patients_of_a_csv_stay_on_one_side(place: Path) -> None:
    tree(Path("n"), "ab", parts=(".",))
    rows = [(f"{name}/{number}.png", f"p{number % 5}{name}") for name in "ab" for number in range(10)]
    with Path("patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "patient"), *rows])
    looked = look_at(asked("--id", "n", "--ood", "o", "--group", "patients.csv"))
    assert "images of each of 10 groups on one side" in looked.notes[0]


def test_one_class_leaves_out_the_methods_that_need_classes(place: Path, capsys) -> None:
    tree(Path("s"), "a", parts=(".",))
    assert main(["--id", "s", "--ood", "o", "--methods", "msp,odin", "--output-dir", "out"]) == 2
    error = capsys.readouterr().err
    assert "s has one class, and msp, odin need two or more. With one class: fused, knn, mahalanobis, mood_dpa" in error
    assert main(["--id", "s", "--ood", "o", "--methods", "msp", "--output-dir", "out"]) == 2
    assert "and msp needs two or more." in capsys.readouterr().err
    chosen = methods.choose(["msp", "knn", "max_logit", "fused"])
    kept, out = methods.without_classes(chosen, "s")
    assert [(source.name, source.methods) for source in kept] == [("baselines", ("knn",)), ("fused", ("fused",))]
    assert kept[0].arguments == ("--detectors", "knn")
    assert set(out) == {"msp", "max_logit"}


def test_the_report_says_what_was_read_and_left_out(place: Path, monkeypatch, capsys) -> None:
    tree(Path("s"), "a", parts=(".",))
    tree(Path("q"), "ab", parts=("all",))
    site = place / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    install(site, "fake_a")
    monkeypatch.setattr(methods, "NEED_CLASSES", methods.NEED_CLASSES | {"fake_b": "it needs classes"})
    install(site, "fake_b")
    assert compare("ood-bench", asked("--id", "s", "--ood", "o,q", "--methods", "fake_a,fake_b")) == 0
    said = capsys.readouterr().err
    assert "left out: fake_b: it needs classes" in said
    assert said.count("note: s: no split into train and test") == 1
    report = Path("out/report.html").read_text(encoding="utf-8")
    assert "Left out: fake_b: it needs classes." in report
    assert "About the images: s: no split into train and test" in report
    assert "pass --one-class.<" in report


def test_the_flags_reach_every_method() -> None:
    given = asked("--id", "n", "--ood", "o", "--group", "2", "--one-class", "--value-range", "0,4095")
    words = given.arguments()
    assert words[-5:] == ("--group", "2", "--value-range", "0,4095", "--one-class")
    assert given.record([])["value_range"] == "0,4095"
    with pytest.raises(InputError):
        _ = Request("n", "o", value_range="x").span

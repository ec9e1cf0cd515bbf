"""A file that a command writes is none of those that it reads."""

import pytest
from ood_shared.errors import InputError
from ood_shared.output_files import of_backbone, output_file


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A model, a scan and a folder of images, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "a").mkdir(parents=True)
    for name in ("model.ood", "in/a/1.png", "in/out.csv", "scan.nii.gz"):
        (tmp_path / name).write_bytes(b"of before")
    (tmp_path / "link.ood").symlink_to("model.ood")
    (tmp_path / "hard.ood").hardlink_to("model.ood")
    return tmp_path


def test_a_home_folder_is_resolved(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert output_file("~/new.ood", "model.ood", []) == place / "new.ood"


@pytest.mark.parametrize(
    ("word", "inputs"),
    [
        ("model.ood", ["model.ood"]),
        ("in/../model.ood", ["in", "model.ood"]),
        ("link.ood", ["model.ood"]),
        ("hard.ood", ["model.ood"]),
        ("in/a/1.png", ["in"]),
        ("in/a/1.png", ["."]),
        ("scan.nii.gz", ["scan.nii.gz#3"]),
        ("scan.nii.gz", ["."]),
    ],
)
def test_a_file_that_is_read_is_not_written(place, word, inputs):
    with pytest.raises(InputError, match=r"^--output .* is read by this command and would be overwritten\."):
        output_file(word, "model.ood", inputs)
    assert (place / word).read_bytes() == b"of before"


@pytest.mark.parametrize(
    ("word", "inputs"),
    [
        ("in/out.csv", ["in"]),  # of an earlier run
        ("in/a/2.png", ["in"]),  # new
        ("model.ood", ["digits", "-", "mnist:test#17", "x" * 6000, "\0"]),
    ],
)
def test_any_other_file_may_be(place, word, inputs):
    assert str(output_file(word, "model.ood", inputs)) == word


def test_a_folder_is_refused_with_an_example(place):
    with pytest.raises(InputError, match=r"--csv in is a folder; name a file, such as in/out\.csv"):
        output_file("in", "out.csv", [], "--csv")


def test_an_empty_word_is_no_file(place):
    with pytest.raises(InputError, match=r"^--csv is empty; name a file, such as out\.csv\.$"):
        output_file("", "out.csv", [], "--csv")


@pytest.mark.parametrize("word", ["run/weights.pth", "run/deep/log.txt", "in/../run/weights.pth", "scan.nii.gz"])
def test_a_file_of_a_run_is_not_written(place, word):
    (place / "run/deep").mkdir(parents=True)
    for name in ("weights.pth", "deep/log.txt"):
        (place / "run" / name).write_bytes(b"of before")
    with pytest.raises(InputError, match=r"^--output .* is read by this command and would be overwritten\."):
        output_file(word, "model.ood", ["in"], runs=["run", "scan.nii.gz"])


def test_a_detector_in_a_run_may_be_written_again(place):
    (place / "run").mkdir()
    (place / "run/model.ood").write_bytes(b"of before")
    for word in ("run/model.ood", "run/new.pth"):
        assert str(output_file(word, "model.ood", ["in"], runs=["run", ""])) == word


@pytest.mark.parametrize(
    ("word", "files"),
    [("net.onnx", "net.onnx"), ("torchvision:resnet18=w.pt", "w.pt"), ("oodgen@runs/a", "runs/a"), ("train", "train")],
)
def test_a_word_of_a_backbone_names_what_it_reads(word, files):
    assert files in of_backbone(word)
    assert of_backbone(None) == ()

"""Image lists and images that are missing, damaged or badly named."""

import json
import os
from pathlib import Path

import ascood
import numpy as np
import pytest
from ascood import bench
from ascood.data.samples import read_imglist
from ood_shared.errors import InputError

from .conftest import CIFAR, OWN


def test_missing_image_lists_are_named(place, run):
    error = run("train", *CIFAR).error
    assert "data/benchmark_imglist/cifar10/train_cifar10.txt" in error
    assert "build_imglist" in error


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x.png", "line 7: `x.png` has no label"),
        ("x.png 10", "line 7: class 10; expected 0 to 9"),
        ("x.png -1", "line 7: class -1; expected 0 to 9 in the list of an ID set"),
        ("x.png one", "is not a label"),
        ("/x.png 1", "is absolute"),
        ("gone.png 1", "gone.png is missing"),
    ],
)
def test_a_bad_line_of_an_image_list_is_named(cifar, run, line, says):
    path = cifar / "data/benchmark_imglist/cifar10/train_cifar10.txt"
    path.write_text(path.read_text() + line + "\n")
    assert says in run("train", *CIFAR).error


def test_a_damaged_test_image_is_found_before_anything_is_written(trained, place, run):
    image = sorted((place / "mine/test").rglob("*.png"))[-1]
    image.write_bytes(b"")
    error = run("train", *OWN, "--output-dir", "new").error
    assert f"{image.name} is damaged or no image" in error
    assert not (place / "new").exists()


def test_lists_are_read_as_everywhere(cifar, run):
    path = cifar / "data/benchmark_imglist/cifar10/train_cifar10.txt"
    kept = path.read_text()
    for text, says in (
        ("x.png 1" + "0" * 30, "is not a label"),
        ("x\0.png 1", "is no path"),
        ("y" * 1000, "has no label"),
    ):
        path.write_text(f"{text}\n")
        error = run("train", *CIFAR, "--output-dir", "new").error
        assert says in error
        assert len(error) < 520
        assert not Path("new").exists()
    path.write_text(kept, encoding="utf-8-sig")
    assert read_imglist("x", path, [cifar / "data/images_classic"], 10).files[0].is_file()
    path.unlink()
    os.mkfifo(path)
    assert "is a pipe" in run("train", *CIFAR).error


@pytest.mark.parametrize("content", [b"no image", b""])
def test_nothing_is_written_before_the_images_were_read(cifar, run, content):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(content)
    run("train", *CIFAR, "--output-dir", "new")
    assert not Path("new").exists()


def test_an_unreadable_image_is_named(cifar, run):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(b"no image")
    error = run("train", *CIFAR).error
    assert f"{path.name} is damaged or no image" in error
    assert "train_cifar10.txt" in error


def test_a_truncated_image_is_read_as_far_as_it_goes(cifar, done):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(path.read_bytes()[:-60])
    done("train", *CIFAR)


def test_lists_are_written_when_all_was_looked_at(place, run, make_folder):
    make_folder(Path("set"))
    (Path("set") / "ood/near/bars/x/a b.png").write_bytes(b"")
    words = ["build_imglist", "set", "--name", "x"]
    assert "has a space" in run(*words, "--ood", "bars=set/ood/near/bars").error
    next((Path("set") / "train/a").iterdir()).write_bytes(b"no image")
    assert "no image" in run(*words).error
    assert [path.name for path in Path().iterdir()] == ["set"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "\0", "x" * 300])
def test_a_name_that_is_none_of_a_file_is_refused(place, run, make_folder, name):
    make_folder(Path("set"))
    assert "is no name for files" in run("build_imglist", "set", "--name", name).error
    assert [path.name for path in Path().iterdir()] == ["set"]


def test_a_list_builder_refuses_names_with_spaces(place, run, make_folder):
    make_folder(place / "mine")
    image = next((place / "mine/train/a").iterdir())
    image.rename(image.with_name("with space.png"))
    assert "has a space" in run("build_imglist", "mine", "--name", "mine").error
    assert json.dumps(sorted(p.name for p in place.iterdir())) == '["mine"]'


@pytest.mark.parametrize("labels", [np.zeros(8, int), None])
def test_one_class_is_refused_before_the_training(labels):
    with pytest.raises(InputError, match="The labels name 1 class; expected at least 2"):
        ascood.fit(np.zeros((8, 8, 8), np.uint8), labels, device="cpu")


def test_a_set_of_one_class_is_refused_before_the_training(tmp_path, capsys):
    words = [
        "--id",
        "digits",
        "--one-class",
        "--ood",
        "faces",
        "--device",
        "cpu",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert bench.main(words) == 2
    assert "--id digits has 1 class; expected at least 2." in capsys.readouterr().err


def test_a_class_without_training_images_is_named(place, run, make_folder):
    make_folder(place / "mine")
    (place / "mine/train/b").rename(place / "mine/train/z")
    error = run("train", "--id-data", "folder:mine", "--device", "cpu").error
    assert "mine: class `b` has no training images. Add some, or remove it from the others." in error


def test_a_folder_of_one_class_is_not_trained_on(place, run, make_folder):
    make_folder(place / "mine", classes=("a",))
    assert "mine has 1 class to train on; expected at least 2." in run("train", "--id-data", "folder:mine").error


@pytest.mark.parametrize(
    "words",
    [
        ["--name", "x", "--ood", "x=set/ood/near/bars"],
        ["--name", "x", "--ood", "a=set/ood/near/bars", "--far", "a=set/ood/near/bars"],
        ["--name", "x", "--ood", "a=set/ood/near/bars", "--ood", "a=set/ood/far/more"],
    ],
)
def test_two_sets_of_one_name_are_refused(place, run, make_folder, words):
    make_folder(Path("set"))
    assert "names two sets, of --name, --ood and --far" in run("build_imglist", "set", *words).error
    assert [path.name for path in Path().iterdir()] == ["set"]


def test_lists_of_others_are_not_replaced_and_own_ones_are(place, run, make_folder):
    make_folder(Path("set"))
    published = Path("data/benchmark_imglist/cifar10/test_cifar10.txt")
    published.parent.mkdir(parents=True)
    published.write_text("cifar10/test/1.png 3\n")
    assert f"{published} is there and was not written by" in run("build_imglist", "set", "--name", "cifar10").error
    assert published.read_text() == "cifar10/test/1.png 3\n"
    for _ in range(2):
        assert run("build_imglist", "set", "--name", "mine").status == 0

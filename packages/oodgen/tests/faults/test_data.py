"""Images that are missing, broken, or not what the networks take."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ID, OOD = "./data/train/mnist", "./data/test/fmnist"


@pytest.fixture(autouse=True)
def _place(place):
    """Good data, in which each test spoils something."""


def spoil(action):
    """The ways in which a file can be broken."""
    path = Path(ID, "train", "b", "003.png")
    if action == "cut short":
        path.write_bytes(path.read_bytes()[:120])
    elif action == "empty":
        path.write_bytes(b"")
    elif action == "text":
        path.write_text("This is no image.")
    return path


@pytest.mark.parametrize("step", ["train_vae", "train_classi"])
@pytest.mark.parametrize("name", ["nowhere", "data/with blank"])
def test_a_missing_folder_comes_with_the_expected_tree(refused, step, name):
    line = refused(step, "--in_data", name)
    assert f"In-distribution folder {name} is missing; expected {name}/train/<class>/*.png" in line
    assert f"`oodgen prepare NAME {shlex.quote(name)}` writes such a tree" in line


def test_a_file_in_place_of_the_folder_is_called_one(refused):
    Path("images.zip").write_bytes(b"")
    assert "In-distribution folder images.zip is a file" in refused("train_vae", "--in_data", "images.zip")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(refused, split):
    shutil.rmtree(Path(ID, split))
    assert f"has no `{split}` split" in refused("train_vae")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_images_is_named_with_the_extensions(refused, split):
    for path in Path(ID, split).rglob("*.png"):
        path.unlink()
    line = refused("train_vae")
    assert f"data/train/mnist/{split} holds no images" in line
    assert ".jpg, .jpeg, .jpe" in line


def test_a_folder_with_nothing_in_it_is_named(refused):
    Path("nothing").mkdir()
    assert "nothing holds no images" in refused("train_vae", "--in_data", "nothing")


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_folder_is_named(refused, split):
    for path in Path(ID, split, "b").iterdir():
        path.unlink()
    assert f"mnist/{split}/b is a class folder without images" in refused("train_vae")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_that_one_split_lacks_is_named(refused, split):
    shutil.rmtree(Path(ID, split, "b"))
    line = refused("train_vae")
    assert f"{ID}/{split} has no images of class `b`" in line
    assert "Give train and test the same class folders." in line


@pytest.mark.parametrize("action", ["cut short", "empty", "text"])
def test_a_broken_image_is_named(refused, action):
    path = spoil(action)
    assert f"{path} is damaged or no image" in refused("train_vae")


def test_an_image_of_32_bits_is_refused_because_its_range_is_not_known(refused):
    path = Path(ID, "train", "b", "003.tif")
    path.with_suffix(".png").unlink()
    Image.fromarray(np.zeros((28, 28), dtype=np.float32)).save(path)
    assert f"{path} has values of more than 16 bits" in refused("train_vae")


def test_one_image_of_another_size_is_named_beside_the_first(refused):
    path = Path(ID, "train", "b", "003.png")
    Image.new("L", (32, 28)).save(path)
    line = refused("train_vae")
    assert f"{path} has 32 x 28" in line
    assert "expected one size" in line


@pytest.mark.parametrize("side", [24, 32])
def test_images_of_another_size_throughout_come_with_what_to_do(refused, make_tree, side):
    make_tree("other", side=side)
    line = refused("train_vae", "--in_data", "other")
    assert f"other/train has images of {side} x {side} pixels, expected 28 x 28" in line
    assert "--resize" in line


def test_an_image_beside_the_class_folders_is_named(refused):
    Image.new("L", (28, 28)).save(Path(ID, "train", "loose.png"))
    assert "train/loose.png stands beside the class folders" in refused("train_vae")


@pytest.mark.parametrize("missing", ["train", "test"])
def test_missing_outliers_come_with_the_command_that_makes_them(trained, refused, missing):
    shutil.rmtree(Path(ID, "ood", missing))
    line = refused("train_classi")
    assert line.endswith(
        "has no generated outliers. Make them with: "
        f"python gen_ood.py --data {ID} --dataset {missing} --model_path ./result"
    )


def test_outliers_that_are_missing_for_the_test_come_with_the_command(trained, refused):
    shutil.rmtree(Path(ID, "ood"))
    assert f"python gen_ood.py --data {ID} --dataset test --model_path ./result" in refused("test")


def test_a_type_of_outliers_that_was_not_made_is_named(trained, refused):
    for path in Path(ID, "ood", "train").glob("*_2.png"):
        path.unlink()
    assert "has no generated outliers of type 2" in refused("train_classi", "--ood_types", "2")


def test_a_broken_outlier_is_named(trained, refused):
    path = Path(ID, "ood", "train", "000003_1.png")
    path.write_bytes(path.read_bytes()[:70])
    assert f"{path} is damaged or no image" in refused("train_classi")


def test_outliers_of_another_size_are_named(trained, refused):
    for path in Path(ID, "ood", "train").glob("*.png"):
        Image.new("L", (32, 32)).save(path)
    assert "ood/train has images of 32 x 32 pixels, expected 28 x 28" in refused("train_classi")


def test_a_class_with_one_image_has_no_shell(trained, refused):
    for path in sorted(Path(ID, "train", "b").iterdir())[1:]:
        path.unlink()
    assert "Class 1 has 1 code(s); its covariance needs at least 2 images." in refused("gen_ood")


def test_chunks_too_small_for_a_covariance_come_with_what_to_do(trained, refused):
    line = refused("gen_ood", "--class_stats", "chunk", "--batch_size", "3")
    assert "raise --batch_size or pass --class_stats split" in line


def test_more_outliers_than_images_come_with_their_number(trained, refused):
    line = refused("gen_ood", "--num_ood", "37")
    assert "--num_ood 37: there are 36 images; at most one outlier per image and type." in line


def test_a_least_distance_above_the_greatest_is_refused(trained, refused):
    line = refused("gen_ood", "--eps_min", "2", "--eps_max", "1")
    assert "--eps_min 2.0 is above --eps_max 1.0. Swap or change them." in line


def test_generating_in_a_short_precision_is_refused(trained, refused):
    assert "--precision bf16: the null space needs fp32" in refused("gen_ood", "--precision", "bf16")


def test_other_classes_than_those_of_the_training_are_refused(trained, refused):
    for split in ("train", "test"):
        Path(ID, split, "c").rename(Path(ID, split, "d"))
    assert "has 3 classes (a, b, d, …), the network was trained with 3 (a, b, c, …)" in refused("gen_ood")
    assert "Pass the data it was trained on." in refused("test")


@pytest.mark.parametrize("step", ["gen_ood", "train_classi", "test"])
def test_another_class_range_than_that_of_the_training_is_refused(trained, refused, step):
    assert "trained with --classes all. Leave the flag out." in refused(step, "--classes", "0-1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fmnst", "`fmnst` is not known. Did you mean `fmnist`?"),
        ("gausian", "`gausian` is not known. Did you mean `gaussian`?"),
        ("./nowhere", "nowhere is missing; expected a folder"),
        ("gaussian,./nowhere", "nowhere is missing; expected a folder"),
        (",", "--out_data is empty"),
        ("", "is no path"),
        ("uniform,sphere,uniform", "--out_data names uniform more than once"),
        ("generated", "--out_data generated: the results have a set of that name"),
        ("notes.md", "notes.md is of no kind that is read"),
        ("hollow", "hollow holds no images"),
        ("hollow2", "hollow2/test has no images; expected files ending in .jpg"),
        ("large", "large/test has images of 32 x 32 pixels, expected 28 x 28"),
    ],
)
def test_outliers_that_cannot_be_read_are_named(trained, refused, name, message):
    Path("notes.md").write_text("")
    Path("hollow").mkdir()
    Path("hollow2/test").mkdir(parents=True)
    Path("large/test/x").mkdir(parents=True)
    Image.new("L", (32, 32)).save("large/test/x/0.png")
    assert message in refused("test", "--out_data", name)


def test_a_broken_real_outlier_is_named(trained, refused):
    path = Path(OOD, "test", "x", "000.png")
    path.write_text("This is no image.")
    assert f"{path} is damaged or no image" in refused("test")


def test_without_the_documented_outliers_and_with_own_images_a_set_is_asked_for(trained, refused):
    shutil.rmtree(OOD)
    assert f"Outlier folder {OOD} is missing. Pass --out_data" in refused("test", "--in_data", ID)


@pytest.mark.parametrize("flags", [("--average", "batches"), ("--compat",)])
def test_fewer_images_than_a_batch_cannot_be_averaged_over_batches(trained, refused, flags):
    line = refused("test", *flags)
    assert "--average batches needs at least one batch of 1000 images, got 72. Use --average pooled." in line


def to_rgb(path):
    Image.open(path).convert("RGB").save(path)
    return path.name


def assert_names_one_of_each(line, rgb_name):
    assert "is grey" in line
    assert f"{rgb_name} is RGB" in line
    assert "Convert them to one kind." in line


def test_grey_beside_rgb_in_the_training_images_is_refused(refused):
    name = to_rgb(sorted(Path(ID, "train", "b").glob("*.png"))[1])
    assert_names_one_of_each(refused("train_vae"), name)


def test_grey_beside_rgb_in_the_real_outliers_is_refused(trained, refused):
    name = to_rgb(sorted(Path(OOD, "test", "x").glob("*.png"))[1])
    assert_names_one_of_each(refused("test"), name)

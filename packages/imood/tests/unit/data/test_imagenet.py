"""The sets of large images: ImageNet from its lists, Waterbirds from its folders."""

import pytest
from imood.data import imagenet
from imood.data.registry import open_task
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text
from PIL import Image

from .sources import place


def imagenet_tree(root):
    lines = {"train": [], "val": []}
    for label, wnid in enumerate(("n01", "n02", "n03")):
        for split in ("train", "val"):
            for number in range(3 - label if split == "train" else 2):
                path = root / "imagenet" / split / wnid / f"{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (300, 260), (80 * label, 0, 0)).save(path)
                lines[split].append(f"{split}/{wnid}/{number}.JPEG {label}")
    write_text(root / "imagenet/ImageNet_LT_train.txt", "\n".join(lines["train"]))
    write_text(root / "imagenet/ImageNet_LT_val.txt", "\n".join(lines["train"]))
    for name in ("extra_1k", "ood_test_1k"):
        (root / "imagenet" / name / "n09").mkdir(parents=True)
        Image.new("RGB", (256, 256)).save(root / "imagenet" / name / "n09/0.JPEG")


def test_imagenet_is_read_from_its_lists_and_cut_to_the_first_classes(tmp_path):
    imagenet_tree(tmp_path)
    training = open_task(place("imagenet", tmp_path, model="ResNet50", id_class_number=2), training=True)
    assert training.counts == [3, 2]
    assert len(training.train()) == 5
    assert len(training.aux()) == 1
    testing = open_task(place("imagenet", tmp_path, model="ResNet50", id_class_number=2), training=False)
    assert testing.test().labels.tolist() == [0, 0, 1, 1]
    assert [listed.name for listed in testing.outliers] == ["imagenet10k"]


def test_a_missing_imagenet_list_says_where_it_comes_from(tmp_path):
    with pytest.raises(MissingFileError, match=r"ImageNet_LT_train.txt.*CVPR 2019.*not shipped"):
        open_task(place("imagenet", tmp_path), training=True)


def test_missing_imagenet_outliers_name_the_script_that_makes_them(tmp_path):
    with pytest.raises(MissingFileError, match=r"get_imagenet10k\.sh"):
        imagenet.outlier_folder(tmp_path, "extra_1k")
    assert (imagenet.package_lists() / "get_imagenet10k.sh").is_file()


@pytest.mark.parametrize("line", ["train/a.JPEG", "train/a.JPEG x", "/abs.JPEG 1", "../a.JPEG 1"])
def test_other_lines_in_an_imagenet_list_are_refused(tmp_path, line):
    write_text(tmp_path / "imagenet/ImageNet_LT_train.txt", line + "\n")
    with pytest.raises(InputError, match="line 1"):
        imagenet.read_list(tmp_path, "ImageNet_LT_train.txt")


def test_waterbird_counts_its_folder_and_warns_when_it_is_another(tmp_path):
    for split in ("train", "val", "test"):
        for name, count in (("a_land", 2), ("b_water", 3)):
            for number in range(count):
                path = tmp_path / "waterbird_LT" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (230, 230)).save(path)
    for folder in ("waterbird_LT/spuriuos_ood", "texture"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (230, 230)).save(tmp_path / folder / "0.png")
    with pytest.warns(UserWarning, match=r"\[2, 3\] images; the published set has \[363, 3699\]"):
        task = open_task(place("waterbird", tmp_path, model="ResNet50"), training=True)
    assert task.counts == [2, 3]
    assert len(task.aux()) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("train/n01/0.JPEG 0\ntrain/n01/0.JPEG 0", "line 2: .*it is listed twice"),
        ("train/n01/0.JPEG 0\ntrain/n01/1.JPEG 1", "line 2: .*train/n01 has the label 0, too"),
        ("train/n01/0.JPEG\t0", r"line 1: 'train/n01/0\.JPEG\\t0'"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(tmp_path, lines, said):
    write_text(tmp_path / "imagenet/ImageNet_LT_train.txt", lines)
    with pytest.raises(InputError, match=said):
        imagenet.read_list(tmp_path, "ImageNet_LT_train.txt")


@pytest.mark.parametrize(("old", "new", "found"), [("n01", "../away", "n02"), ("n03", "n00", "n00")])
def test_validation_folders_in_another_order_than_the_list_are_refused(tmp_path, old, new, found):
    imagenet_tree(tmp_path)
    val = tmp_path / "imagenet/val"
    (val / old).rename(val / new)
    task = open_task(place("imagenet", tmp_path, model="ResNet50", id_class_number=3), training=False)
    with pytest.raises(InputError, match=rf"class 0 in the order of the names is {found}; the training list has n01"):
        task.test()

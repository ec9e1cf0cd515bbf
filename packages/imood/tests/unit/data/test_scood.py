"""The image lists of SCOOD."""

import pytest
from imood.data import scood
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text


def test_scood_lists_give_files_and_semantic_labels(data):
    paths, labels = scood.read_list(data, "cifar10", "tin")
    assert all(path.is_file() for path in paths)
    assert labels.tolist()[:4] == [0, 1, 2, -1]
    assert scood.set_names("cifar100")[2] == "cifar10"


def test_scood_accepts_the_short_name_of_the_other_cifar(tmp_path):
    write_text(tmp_path / "SCOOD/data/imglist/benchmark_cifar10/test_cifar.txt", "a.png {'sc_label': -1}\n")
    assert scood.read_list(tmp_path, "cifar10", "cifar100")[1].tolist() == [-1]


@pytest.mark.parametrize(
    "line",
    ["a.png", "a.png {'label': 1}", "a.png {'sc_label': 'x'}", "a.png __import__('os')", "../a.png {'sc_label': 1}"],
)
def test_other_lines_in_a_scood_list_are_refused(tmp_path, line):
    write_text(tmp_path / "SCOOD/data/imglist/benchmark_cifar10/test_svhn.txt", line + "\n")
    with pytest.raises(InputError, match="line 1"):
        scood.read_list(tmp_path, "cifar10", "svhn")


def test_an_image_that_is_listed_twice_is_told_and_one_with_two_labels_refused(tmp_path, capsys):
    path = tmp_path / "SCOOD/data/imglist/benchmark_cifar10/test_svhn.txt"
    write_text(path, "a.png {'sc_label': -1}\n" * 3 + "b.png {'sc_label': 2}\n")
    assert scood.read_list(tmp_path, "cifar10", "svhn")[1].tolist() == [-1, -1, -1, 2]
    assert "test_svhn.txt: 2 lines repeat an image" in capsys.readouterr().out
    write_text(path, "a.png {'sc_label': -1}\na.png {'sc_label': 3}\n")
    with pytest.raises(InputError, match=r"line 2: `a\.png` has sc_label 3, before -1"):
        scood.read_list(tmp_path, "cifar10", "svhn")


def test_missing_scood_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingFileError, match=r"drive.google.com.*SCOOD/data"):
        scood.read_list(tmp_path, "cifar10", "svhn")


@pytest.mark.parametrize("rest", ["{'sc_label': 1" + "0" * 30 + "}", "{'sc_label': 0.5}", "{'sc_label': [}"])
def test_a_wrong_line_of_a_scood_list_is_named(data, rest):
    path = data / "SCOOD/data/imglist/benchmark_cifar10/test_tin.txt"
    before = path.read_text()
    path.write_text(f"tin/test/x.png {rest}\n")
    try:
        with pytest.raises(InputError, match="line 1"):
            scood.read_list(data, "cifar10", "tin")
        path.write_bytes(b"tin/\xff.png {'sc_label': 0}\n")
        with pytest.raises(InputError, match="not text in UTF-8"):
            scood.read_list(data, "cifar10", "tin")
    finally:
        path.write_text(before)

"""What is no regular file, and links that lead around: named, and neither read nor waited for."""

import os
import socket
from pathlib import Path

import pytest
from ood_shared.datasets import decode, load
from ood_shared.datasets.groups import read_table
from ood_shared.datasets.survey import survey
from ood_shared.errors import InputError

from .broken_sets import folder, png, refused, scored


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sock(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def test_a_pipe_in_place_of_a_csv_of_groups_is_called_one(tmp_path):
    fifo(tmp_path / "p.csv")
    with pytest.raises(InputError, match=r"p\.csv is a pipe, not a regular file"):
        read_table(str(tmp_path / "p.csv"))


SPECIAL = {"a pipe": fifo, "a device": device, "a socket": sock}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.dcm", "x.nii.gz"])
def test_what_is_no_regular_file_is_named_and_not_read(tmp_path: Path, kind: str, name: str) -> None:
    SPECIAL[kind](folder(tmp_path) / "test" / "a" / name)
    assert f"{name} is {kind}, not a regular file" in refused(tmp_path)
    problems = [problem for _, problem in scored(tmp_path) if problem]
    assert len(problems) == 1
    assert f"is {kind}" in problems[0]


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_without_an_ending_is_no_image(tmp_path: Path, kind: str) -> None:
    SPECIAL[kind](folder(tmp_path) / "test" / "a" / "x")
    assert len(load(str(tmp_path), "test")) == 4
    assert len(scored(tmp_path)) == 4


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize(
    "name", ["x.npz", "x.tar", "x.tar.gz", "x.zip", "test_x.txt", "t10k-images-idx3-ubyte", "x.nii.gz", "x.dcm"]
)
def test_a_set_that_is_no_regular_file_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    SPECIAL[kind](tmp_path / name)
    assert f"is {kind}, not a regular file" in refused(tmp_path / name)
    with pytest.raises(InputError, match=kind):
        survey(tmp_path / name, "test")
    (problem,) = [problem for _, problem in scored(tmp_path / name)]
    assert f"is {kind}" in problem


def test_a_file_of_6_gb_of_nothing_is_refused_by_its_size(tmp_path: Path) -> None:
    with (folder(tmp_path) / "test" / "a" / "x.png").open("wb") as file:
        file.truncate(6 << 30)
    assert f"x.png has {6 << 30} bytes; at most {decode.MAX_FILE} are read" in refused(tmp_path)


# Links


def test_links_into_the_folders_around_are_walked_once(tmp_path: Path) -> None:
    for name in "ab":
        (folder(tmp_path) / "test" / name / "up").symlink_to("..", target_is_directory=True)
    assert len(load(str(tmp_path), "test")) == 4
    assert len(scored(tmp_path)) == 4


def test_links_that_lead_to_a_folder_again_and_again_are_named(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(9)]
    for name in names:
        (folder(tmp_path) / "test" / name).mkdir()
        (tmp_path / "test" / name / "0.png").write_bytes(png())
    for name in names:
        for other in names:
            (tmp_path / "test" / name / f"to_{other}").symlink_to(f"../{other}", target_is_directory=True)
    assert "links lead to this folder more than 16 times" in refused(tmp_path)
    assert any("links lead to this folder" in problem for _, problem in scored(tmp_path))


def test_a_link_to_itself_is_no_folder_and_a_broken_one_is_missing(tmp_path: Path) -> None:
    (folder(tmp_path) / "test" / "a" / "loop").symlink_to("loop")
    assert len(load(str(tmp_path), "test")) == 4
    (tmp_path / "test" / "a" / "gone.png").symlink_to("nowhere.png")
    assert "gone.png is missing" in refused(tmp_path)


def test_a_class_folder_that_is_a_link_and_a_split_that_is_one_are_read(tmp_path: Path) -> None:
    (folder(tmp_path) / "val").symlink_to("test", target_is_directory=True)
    assert len(load(str(tmp_path), "val")) == len(load(str(tmp_path), "test")) == 4

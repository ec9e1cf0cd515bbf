"""Notes of data sets: printed by whoever reads, once in a command."""

import argparse

import numpy as np
import pytest
from ood_shared.cli import Parser, run_command
from ood_shared.datasets.decode import read_image
from ood_shared.datasets.imageset import ImageSet, told
from ood_shared.errors import InputError
from ood_shared.notes import say
from PIL import Image, ImageFile


def test_a_note_is_printed_once_in_a_command_and_again_in_the_next(capsys):
    images = ImageSet(
        np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int64), ("a",), "own", "x", notes=("two\nlines",)
    )

    def command(_: argparse.Namespace) -> None:
        for _ in range(3):
            assert told(images) is images

    for _ in range(2):
        assert run_command(command, Parser(), []) == 0
        assert capsys.readouterr().out == "note: x: two lines\n"


def test_other_processes_than_the_first_are_silent(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    say(["x"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes_only_where_asked_and_said(tmp_path, capsys, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a{ending}"
    Image.fromarray(pixels).save(path)
    whole = np.asarray(read_image(path, cut_short=True))
    assert capsys.readouterr().out == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="is damaged or no image"):
        read_image(path)
    found = np.asarray(read_image(path, cut_short=True))
    assert (found[:8] == whole[:8]).all()
    assert capsys.readouterr().out == f"note: {path} is cut short or damaged: it is read as far as it goes\n"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(InputError, match="is damaged or no image"):
        read_image(path)
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match="no known image format"):
        read_image(path, cut_short=True)

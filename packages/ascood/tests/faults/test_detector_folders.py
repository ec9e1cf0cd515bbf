"""Folders of `ascood.fit` whose record is damaged, and arguments of `ascood.load` that do not go with them."""

import json
import shutil

import ascood
import numpy as np
import pytest
from ood_shared.contract import COMMON, Common
from ood_shared.errors import InputError


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COMMON, "smoke", Common(60, 40, 2, 20, "smallresnet10"))
        ascood.fit(images, np.arange(40) % 2, output_dir=folder, device="cpu")
    return folder


@pytest.fixture
def changed(fitted, tmp_path):
    """Writes another record into a copy of the folder."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)

    def change(edit):
        path = tmp_path / "detector.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(edit(record)))
        return tmp_path

    return change


@pytest.mark.parametrize("record", [{}, [], None, 3])
def test_a_record_that_says_nothing_is_refused(changed, record):
    with pytest.raises(InputError, match=r"detector\.json has no `score`; expected a table"):
        ascood.load(changed(lambda _: record), device="cpu")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("native", [8], "has [8] as `native`; expected height and width."),
        ("native", "8", "has '8' as `native`; expected a list."),
        ("score", "msp", "has 'msp' as `score`; expected a table."),
        ("score", {"name": 3, "args": {}}, "has 3 as `name`; expected text."),
        ("score", {"name": "msp"}, "has no `args`; expected a table."),
        ("weights", None, "has no `weights`; expected text."),
        ("classes", [1, 2], "has [1, 2] as `classes`; expected a list of names."),
    ],
)
def test_an_entry_that_cannot_be_is_refused_by_name(changed, name, value, says):
    with pytest.raises(InputError) as error:
        ascood.load(changed(lambda record: record | {name: value}), device="cpu")
    assert says in str(error.value)


@pytest.mark.parametrize("word", [{"image_size": 32}, {"network": "lenet"}, {"normalisation": "cifar10"}])
def test_what_the_folder_says_itself_is_not_told(fitted, word):
    with pytest.raises(InputError, match=f"says itself how its images are prepared; leave {next(iter(word))}= out"):
        ascood.load(fitted, device="cpu", **word)


def test_a_size_is_a_number_of_pixels(fitted):
    with pytest.raises(InputError, match="image_size is -3; expected a number of pixels from 1 on"):
        ascood.load(fitted, image_size=-3)


def test_a_path_is_one():
    with pytest.raises(InputError, match="None is no path"):
        ascood.load(None)

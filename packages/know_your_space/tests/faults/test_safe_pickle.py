"""The pickles of the authors' layout: arrays from any Python are read, everything else is refused unrun."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from know_your_space.data.safe_pickle import RefusedPickleError, load_arrays
from ood_shared.errors import InputError, MissingFileError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10

# What Python 2 wrote for {"images": numpy.array([[0, 128], [255, 7]], uint8)}, protocol 2: bytes are text there.
PYTHON_2 = (
    b"\x80\x02}U\x06imagescnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x04\x00\x80\xff\x07tbs."
)


class Hostile:
    """Makes a pickle that calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def written(tmp_path: Path, content: Any, protocol: int = 4) -> Path:
    path = tmp_path / "set.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    content = {
        "images": ARRAY,
        "fortran": np.asfortranarray(ARRAY),
        "labels": np.array([3, 4]),
        "names": ["a", b"b", None],
        "number": np.float64(2.5),
        "mixed": np.array([1, "a"], dtype=object),
    }
    found = load_arrays(written(tmp_path, content, protocol))
    assert np.array_equal(found["images"], ARRAY)
    assert np.array_equal(found["fortran"], ARRAY)
    assert found["images"].dtype == np.uint8
    assert found["labels"].tolist() == [3, 4]
    assert (found["names"], found["number"], found["mixed"].tolist()) == (["a", b"b", None], 2.5, [1, "a"])


def test_pickles_of_the_old_numpy_are_read(tmp_path: Path) -> None:
    new = pickle.dumps({"images": ARRAY}, 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(load_arrays(written(tmp_path, old))["images"], ARRAY)


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    assert load_arrays(written(tmp_path, PYTHON_2))["images"].tolist() == [[0, 128], [255, 7]]


def test_a_read_only_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, {"images": ARRAY})
    path.chmod(0o400)
    assert np.array_equal(load_arrays(path)["images"], ARRAY)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    path = written(tmp_path, {"images": Hostile(os.mkdir, str(mark))}, protocol)
    with pytest.raises(RefusedPickleError, match=r"holds `\w+\.mkdir`, which could run code"):
        load_arrays(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "function", [eval, getattr, np.load, np.fromfile, np.frombuffer, pickle.loads], ids=lambda f: f.__name__
)
def test_functions_that_lead_to_others_are_refused(tmp_path: Path, function: Any) -> None:
    with pytest.raises(InputError, match="could run code"):
        load_arrays(written(tmp_path, Hostile(function, "x")))


def test_a_codec_other_than_that_of_numpy_is_refused(tmp_path: Path) -> None:
    import _codecs

    with pytest.raises(InputError, match="the encoding rot13"):
        load_arrays(written(tmp_path, Hostile(_codecs.encode, "x", "rot13")))


def test_objects_outside_of_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedPickleError, match="outside of it"):
        load_arrays(written(tmp_path, b"Pname\n."))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_file_cut_short_anywhere_is_one_clear_error(tmp_path: Path, protocol: int) -> None:
    whole = pickle.dumps({"images": ARRAY}, protocol)
    for length in range(len(whole)):
        with pytest.raises(InputError, match="damaged or no pickle"):
            load_arrays(written(tmp_path, whole[:length]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.pkl is missing"):
        load_arrays(tmp_path / "none.pkl")

"""Files cut short and with flipped bytes: a reader gives a value or one clear line, within seconds and a gibibyte."""

import random
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from ood_shared.errors import InputError

from .formats import FORMATS, Format

CUTS, FLIPS, GROUPS = 20, 200, 10  # flips are tried in groups of 20, to have few tests
SECONDS = 10
MEMORY = (1 << 30) + (1 << 29)  # a gibibyte, and the addresses that eight threads set aside without using them
ENTRANCES = [
    pytest.param(form, reader, id=f"{form.name}-{name}") for form in FORMATS for name, reader in form.readers.items()
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A valid file of each format, in a folder of its own."""
    found = {}
    for form in FORMATS:
        found[form.name] = tmp_path_factory.mktemp("whole") / form.name
        form.write(found[form.name])
    return found


@pytest.mark.parametrize(("form", "reader"), ENTRANCES)
def test_the_whole_file_is_read(whole, form: Format, reader) -> None:
    try:
        assert len(reader(whole[form.name])) > 0
    except InputError as error:  # a detector of no package: its file is whole
        assert "is not installed" in str(error)  # noqa: PT017


@pytest.mark.parametrize("cut", range(CUTS))
@pytest.mark.parametrize(("form", "reader"), ENTRANCES)
def test_a_file_cut_short_is_a_value_or_one_line(whole, form: Format, reader, cut: int, tmp_path: Path) -> None:
    path, data = _copy(whole[form.name], tmp_path)
    path.write_bytes(data[: len(data) * cut // CUTS])
    _value_or_one_line(reader, path)


@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize(("form", "reader"), ENTRANCES)
def test_a_file_with_a_flipped_byte_is_a_value_or_one_line(
    whole, form: Format, reader, group: int, tmp_path: Path
) -> None:
    path, data = _copy(whole[form.name], tmp_path)
    draws = random.Random(f"{form.name} {group}")
    for _ in range(FLIPS // GROUPS):
        place = draws.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ draws.randrange(1, 256)]) + data[place + 1 :])
        _value_or_one_line(reader, path)


def _copy(source: Path, folder: Path) -> tuple[Path, bytes]:
    """The file with all that stands beside it; its content."""
    for file in source.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / source.name, source.read_bytes()


def _value_or_one_line(reader, path: Path) -> None:
    with _bounded():
        try:
            reader(path)
        except InputError as error:
            said = str(error)
        else:
            return
    assert len(said.splitlines()) == 1, said
    assert path.stem.split(".")[0] in said, said


@contextmanager
def _bounded() -> Iterator[None]:
    """Fail after ten seconds, and where more than a gibibyte is asked for beyond what the process has."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"It took more than {SECONDS} s.")

    before = signal.signal(signal.SIGALRM, late)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)

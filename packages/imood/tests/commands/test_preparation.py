"""The script that makes the ImageNet outliers, on a tree of empty files."""

import json
import shutil
import subprocess
import tarfile

import pytest

from ..conftest import PACKAGE

FOLDER = PACKAGE / "datasets/ImageNet_LT"


def prepare(*argv, cwd, script=FOLDER / "get_imagenet10k.sh"):
    words = ["bash", str(script), *argv]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def wnids(name, folder=FOLDER):
    return (folder / f"wnids_{name}.txt").read_text().split()


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The script beside the first six synsets of each list: it starts a few programs for each."""
    folder = tmp_path_factory.mktemp("script")
    shutil.copy(FOLDER / "get_imagenet10k.sh", folder)
    for name in ("extra", "ood_test"):
        (folder / f"wnids_{name}.txt").write_text("".join(f"{wnid}\n" for wnid in wnids(name)[:6]))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory, short):
    """Their synsets, most as folders, one as an archive, one with more than fifty images."""
    root = tmp_path_factory.mktemp("synsets")
    source = root / "data/imagenet10k"
    for wnid in wnids("extra", short) + wnids("ood_test", short):
        (source / wnid).mkdir(parents=True)
        (source / wnid / f"{wnid}_0.JPEG").touch()
    many = wnids("ood_test")[0]
    for number in range(60):
        (source / many / f"{many}_{number:03d}.JPEG").touch()
    packed = wnids("extra")[0]
    with tarfile.open(source / f"{packed}.tar", "w") as tar:
        tar.add(source / packed / f"{packed}_0.JPEG", f"{packed}_0.JPEG")
    (source / packed / f"{packed}_0.JPEG").unlink()
    (source / packed).rmdir()
    return root


def test_both_lists_are_the_fixed_ones_and_disjoint(golden_lists):
    assert wnids("extra") == golden_lists["extra"]
    assert wnids("ood_test") == golden_lists["ood_test"]
    assert not set(wnids("extra")) & set(wnids("ood_test"))


@pytest.fixture
def golden_lists():
    return json.loads((PACKAGE / "tests/golden/data/wnids.json").read_text())


def test_the_script_makes_both_folders_and_changes_nothing_the_second_time(tree, short):
    for _ in range(2):
        found = prepare(cwd=tree, script=short / "get_imagenet10k.sh")
        assert found.returncode == 0, found.stderr
        assert found.stdout.splitlines() == [
            "extra_1k: 6 of 6 synsets",
            f"ood_test_1k: 6 of 6 synsets, {5 + 50} images",
        ]
    many = wnids("ood_test")[0]
    kept = sorted(path.name for path in (tree / "data/imagenet/ood_test_1k" / many).iterdir())
    assert kept == sorted(path.name for path in (tree / "data/imagenet10k" / many).iterdir())[:50]
    assert (tree / "data/imagenet/extra_1k" / wnids("extra")[0]).is_dir()


def test_check_only_counts(tmp_path):
    found = prepare("--drp", str(tmp_path / "none"), "--check", cwd=tmp_path)
    assert found.returncode == 0
    assert found.stdout.startswith("extra_1k: 0 of 500")
    assert not (tmp_path / "none").exists()


def test_nothing_is_downloaded_without_yes(tmp_path):
    found = prepare("--drp", str(tmp_path), cwd=tmp_path)
    assert found.returncode == 2
    assert "1500 synsets are missing" in found.stderr
    assert "--yes" in found.stderr


def test_an_unknown_argument_is_one_line(tmp_path):
    found = prepare("--all", cwd=tmp_path)
    assert found.returncode == 2
    assert "unknown argument `--all`" in found.stderr
    assert len(found.stderr.splitlines()) == 1

"""Known sets that are absent: fetched once before the first method starts, or one line and no start at all."""

import shutil
from pathlib import Path

import pytest
from ood_bench import conclusion
from ood_shared.datasets import mnist_family

from .fakes import bench, calls, install

NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conclusion.page, "sections", lambda *_, **__: [])  # the report is not what is tested
    monkeypatch.setenv("OOD_DATA_DIR", str(tmp_path / "data"))
    return [install(site, name, ("ok", "ok")) for name in ("fake_a", "fake_b")]


@pytest.fixture
def downloads(methods: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were downloaded, of a set whose download works; nobody reads its files here."""
    found = list[str]()

    def download(name: str, split: str, place: Path) -> None:
        found.append(f"{name}/{split}")
        folder = place / mnist_family.FAMILY[name].folder / "raw"
        folder.mkdir(parents=True)
        for file in FILES:
            (folder / file).touch()

    monkeypatch.setattr(mnist_family, "_download", download)
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--id", "CIFAR-10"], "`cifar10` lacks cifar-10-batches-py"),
        (["--ood", "gaussian,cifar100"], "`cifar100` lacks cifar-100-python"),
        (["--ood", "fashion-mnist"], "`fmnist` lacks t10k-images-idx3-ubyte"),
        (["--ood", "dtd", "--data-dir", "given"], "unpack it into given/dtd."),
        (["--id", "places365"], "`places365` has no `train` split"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_before_the_first_method_starts(
    methods: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    assert bench("--methods", "fake_a,fake_b", "--seeds", "2", *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not Path("out").exists()
    assert not any((method / "calls.txt").exists() for method in methods)


def test_what_can_be_fetched_is_fetched_once_and_the_methods_run(methods: list[Path], downloads: list[str]) -> None:
    words = ["--methods", "fake_a,fake_b", "--seeds", "2", "--id", "mnist", "--ood", "kmnist"]
    assert bench(*words) == 0
    assert sorted(downloads) == ["kmnist/test", "mnist/train"]  # which brings both splits
    assert [len(calls(method)) for method in methods] == [2, 2]
    assert bench(*words) == 0
    assert len(downloads) == 2


def test_finished_runs_are_kept_without_their_images_and_others_need_them(
    methods: list[Path], downloads: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--methods", "fake_a,fake_b", "--id", "mnist"]
    assert bench(*words) == 0
    shutil.rmtree("data")
    assert bench(*words, "--resume") == 0
    assert len(downloads) == 1
    assert not Path("data").exists()
    Path("out/fake_b/seed-0/result.json").unlink()
    monkeypatch.setattr(mnist_family, "_download", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    capsys.readouterr()
    assert bench(*words, "--resume") == 2
    assert "`mnist` lacks train-images-idx3-ubyte" in capsys.readouterr().err
    assert Path("out/fake_a/seed-0/result.json").is_file()
    assert [len(calls(method)) for method in methods] == [1, 1]

"""`ood-bench --methods FILE.py:CLASS`: a method that is one file."""

import importlib
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_bench import command, methods, user_method
from ood_bench.user_detector import UserDetector
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.record import read_result

CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"
PAGE = CONTRIBUTING.parent / "docs" / "add-a-method.md"
BRIGHTNESS = """
import random

class Brightness:
    def fit(self, images, labels):
        self.mean, self.draw = images.mean(), random.random()
    def score(self, images):
        return abs(images.mean(axis=(1, 2, 3)) - self.mean)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bench(*words: str) -> int:
    return command.main(["--ood", "letters,gaussian", *words, "--output-dir", "out"])


@pytest.mark.skipif(not CONTRIBUTING.is_file(), reason="the package stands here without CONTRIBUTING.md")
def test_the_file_of_contributing_is_short_and_runs(folder, capsys) -> None:
    (text,) = re.findall(r'```python\n("""nearest\.py.*?)```', CONTRIBUTING.read_text(), re.S)
    assert len(text.splitlines()) <= 30
    (folder / "nearest.py").write_text(text)
    assert bench("--methods", "./nearest.py:Nearest") == 0
    record, arrays = read_result(folder / "out/nearest.Nearest/seed-0")
    assert record["method"] == "nearest.Nearest"
    assert record["id_accuracy"]["value"] > 0.9  # nearest neighbours know digits
    assert record["metrics"]["gaussian"]["auroc"]["value"] > 0.99
    assert arrays["names"].tolist() == ["digits", "novel", "letters", "gaussian"]
    assert "nearest.Nearest" in (folder / "out/report.html").read_text()


@pytest.mark.skipif(not PAGE.is_file(), reason="the package stands here without the pages of docs")
def test_the_package_of_the_page_is_found_and_leaves_a_result(folder, monkeypatch, capsys) -> None:
    files = re.findall(r'```python\n("""(my_method/\w+\.py).*?)```', PAGE.read_text(), re.S)
    (points,) = re.findall(r"```toml\n\[project\.entry-points\.(.*?)```", PAGE.read_text(), re.S)
    (folder / "my_method").mkdir()
    for text, name in files:
        (folder / name).write_text(text)
    (folder / "my_method-1.dist-info").mkdir()
    (folder / "my_method-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-method\nVersion: 1\n")
    (folder / "my_method-1.dist-info/entry_points.txt").write_text("[" + points.replace('"', ""))
    monkeypatch.syspath_prepend(str(folder))
    assert methods.installed()["my_method"] == "my_method.bench"
    main = importlib.import_module("my_method.bench").main
    assert main(["--id", "digits", "--ood", "textures,gaussian", "--budget", "smoke", "--output-dir", "out"]) == 0
    record, _ = read_result(folder / "out")
    assert (record["method"], record["budget"], record["id_accuracy"]) == ("my_method", "smoke", None)
    assert record["metrics"]["gaussian"]["auroc"]["value"] > 0.99
    for name in ("my_method", "my_method.bench", "my_method.training"):
        sys.modules.pop(name)


def test_a_changed_file_is_run_again_and_an_unchanged_one_is_kept(folder, capsys) -> None:
    path = folder / "own.py"
    path.write_text(BRIGHTNESS)
    assert bench("--methods", "own.py:Brightness") == 0
    before = read_result(folder / "out/own.Brightness/seed-0")[1]["scores"]
    assert bench("--methods", "own.py:Brightness", "--resume") == 0
    assert "finished before, kept" in capsys.readouterr().err
    path.write_text(BRIGHTNESS.replace("return abs", "return 2 * abs"))
    assert bench("--methods", "own.py:Brightness", "--resume") == 0
    assert "kept" not in capsys.readouterr().err
    assert read_result(folder / "out/own.Brightness/seed-0")[1]["scores"] == pytest.approx(2 * before)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("./none.py:Own", "none.py is missing"),
        ("own.py:3", "no name of a class"),
    ],
)
def test_a_file_that_cannot_be_is_named_before_anything_runs(folder, word, message, capsys) -> None:
    (folder / "own.py").write_text(BRIGHTNESS)
    assert bench("--methods", word) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Other: pass", "has no class `Own`. It has: Other"),
        ("class Own:\n    def fit(self, images, labels): pass", "no method `score`"),
    ],
)
def test_a_class_that_lacks_something_is_refused(folder, text, message) -> None:
    (folder / "own.py").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        user_method.load_class(Path("own.py"), "Own")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("images[:, 0]", "expected (2,) numbers"),
        ("np.array([1.0, np.nan])", "1 values that are no finite numbers"),
        ("['a', 'b']", "expected (2,) numbers"),
    ],
)
def test_what_a_class_returns_is_checked(score, message) -> None:
    scope: dict = {"np": np}
    exec(textwrap.dedent(f"class Own:\n    def score(self, images): return {score}"), scope)
    with pytest.raises(InputError, match=re.escape(message)):
        UserDetector(scope["Own"]()).outputs(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def test_a_user_s_detector_scores_images_of_any_size() -> None:
    class Mean:
        def score(self, images):
            assert images.shape[1:] == (32, 32, 3)
            return images.mean(axis=(1, 2, 3))

        def predict(self, images):
            return np.zeros(len(images), int)

    detector = UserDetector(Mean(), ("a",), threshold=100.0)
    images = np.stack([np.full((7, 9), level, np.uint8) for level in (10, 200)])
    assert detector.score(images).tolist() == [10, 200]
    assert detector.predict(images).tolist() == [0, -1]


def test_names_of_files_and_of_packages_are_told_apart(folder) -> None:
    (folder / "own.py").write_text(BRIGHTNESS)
    (source,) = methods.choose(["own.py:Brightness"])
    assert (source.name, source.module, source.group) == ("own.Brightness", "ood_bench.user_method", False)
    assert source.arguments[:2] == ("--method", "own.py:Brightness")
    with pytest.raises(MissingFileError):
        methods.choose(["other.py:Brightness"])

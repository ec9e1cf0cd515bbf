"""Detectors: outputs of a user's images, a run within a budget, and the adapters with their libraries."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared import model_file
from ood_shared.adapters import as_pytorch_ood, as_sklearn
from ood_shared.calibrated import calibrate
from ood_shared.contract import Request
from ood_shared.datasets import load, resize
from ood_shared.detector import (
    Method,
    Trained,
    as_benchmark,
    as_labels,
    fitting_in,
    outputs_of,
    run_within_budget,
    within_threshold,
)
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.files import write_json
from ood_shared.results.record import read_result
from ood_shared.run_model import keep_bench
from ood_shared.training import Compute
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from torch import nn
from torchvision.transforms.functional import to_tensor

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Darkness:
    """The darker, the more OOD; class 0 for images with a bright left half."""

    classes: tuple[str, ...] = ("left", "right")
    threshold: float | None = None

    def score(self, images, batch_size=250):
        return outputs_of(self, images, prepare, batch_size)[0]

    def predict(self, images, batch_size=250):
        return within_threshold(*outputs_of(self, images, prepare, batch_size), self.threshold)

    def outputs(self, images, batch_size=250):
        pixels = images.float() / (255 if images.dtype == torch.uint8 else 1)
        left, right = pixels[..., :4].mean(dim=(1, 2, 3)), pixels[..., 4:].mean(dim=(1, 2, 3))
        return -pixels.mean(dim=(1, 2, 3)), (right > left).long()


def prepare(pixels):
    return resize(pixels, (8, 8), channels=1)


def shades(*levels: int) -> np.ndarray:
    return np.stack([np.full((16, 16), level, np.uint8) for level in levels])


def test_scores_follow_the_images_and_classes_end_at_the_threshold() -> None:
    scores = Darkness().score(shades(0, 51, 255))
    assert scores == pytest.approx([0, -0.2, -1])
    assert Darkness().predict(shades(0, 51, 255)).tolist() == [0, 0, 0]
    assert replace(Darkness(), threshold=-0.1).predict(shades(0, 51, 255)).tolist() == [-1, 0, 0]


def test_a_run_within_a_budget_leaves_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(benchmark, generator, compute, folder):
        (folder / "weights").write_bytes(b"weights")
        assert len(benchmark.train) == 20
        parts = (Darkness(), [nn.Linear(2, 3)], 1.5, folder / "weights", 0.25, {"more": 1})
        return Trained(*parts, others={"same": Darkness()})

    request = Request("digits", "letters,uniform", seed=3)
    method = Method("darkness", "A, B, C 2020", 8, 1)
    run_within_budget(method, request, (20, 30), train, Compute(CPU), tmp_path / "out")
    record, arrays = read_result(tmp_path / "out")
    assert [record[name] for name in ("method", "paper", "seed", "budget")] == ["darkness", "A, B, C 2020", 3, "smoke"]
    assert record["config"] == {
        **{"backbone": "common", "parameters": 9, "epochs": 1.5, "extra_data": None},
        **{"more": 1, "novel_classes": None},
    }
    assert record["other_scores"] == {"same": record["metrics"]}
    assert record["timings"]["train_step_seconds"] == 0.25
    assert arrays["names"].tolist() == ["digits", "letters", "uniform"]
    assert capsys.readouterr().out.count("AUROC") == 2
    with pytest.raises(InputError, match="--output-dir is missing"):
        run_within_budget(method, request, (20, 30), train, Compute(CPU), None)


@dataclass(frozen=True)
class Kept(Darkness):
    """One that a file can hold."""

    def prepare(self, pixels):
        return prepare(pixels)

    def state(self):
        return State("darkness", self.classes, {}, {"nothing": torch.zeros(1)})


class Point:
    name, dist = "darkness", None

    def load(self):
        return lambda state, device: Kept(state.classes)


def run_of(folder: Path, detector, test_images: int, checkpoint: str = "weights") -> None:
    def train(benchmark, generator, compute, folder):
        (folder / checkpoint).write_bytes(b"weights")
        return Trained(detector, [nn.Linear(2, 3)], 1, folder / checkpoint, 0.1)

    method = Method("darkness", "A, B, C 2020", 8, 1)
    run_within_budget(method, Request("digits", "letters", seed=3), (20, test_images), train, Compute(CPU), folder)


def test_a_run_leaves_its_detector_calibrated_on_the_id_test_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_file, "_entry_points", lambda: [Point()])
    run_of(tmp_path, Kept(), 30)
    _, arrays = read_result(tmp_path)
    loaded = model_file.load(tmp_path / "model.ood")
    assert (loaded.scores == arrays["scores"][arrays["dataset"] == 0]).all()
    assert (loaded.taken_for == arrays["predictions"][arrays["dataset"] == 0]).all()
    assert (loaded.limit.n, loaded.alarm_rate) == (30, 0.05)
    about = loaded.about
    assert [about[name] for name in ("id", "budget", "seed", "method")] == ["digits", "smoke", 3, "darkness"]
    assert "30 ID test images" in about["calibrated_on"]
    assert "CC BY 4.0" in about["licence"]
    card = (tmp_path / "model.ood").read_bytes()
    assert str(tmp_path).encode() not in card


@pytest.mark.parametrize(("detector", "n", "why"), [(Kept(), 18, "18 ID test images"), (Darkness(), 30, "no state()")])
def test_a_run_without_a_file_says_why_and_leaves_none_of_before(tmp_path, capsys, detector, n, why) -> None:
    (tmp_path / "model.ood").write_bytes(b"of an earlier run")
    run_of(tmp_path, detector, n)
    assert not (tmp_path / "model.ood").exists()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("no model.ood: ")]
    assert why in line
    record, _ = read_result(tmp_path)
    with pytest.raises(InputError, match=r"holds the results of a bench.* Name another folder by --out\.$"):
        keep_bench(tmp_path, "imood", "--out")
    write_json(tmp_path / "result.json", record | {"config": {"lr": 0.1, "epochs": 3}})  # as a test of a run leaves it
    keep_bench(tmp_path, "imood", "--out")
    (tmp_path / "result.json").write_text("{")
    keep_bench(tmp_path, "imood", "--out")


def test_a_run_keeps_a_threshold_of_the_detector_s_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_file, "_entry_points", lambda: [Point()])
    own = calibrate(Kept(), np.arange(9.0), alarm_rate=0.2)
    run_of(tmp_path / "one", own, 30)
    assert model_file.load(tmp_path / "one/model.ood").limits == own.limits
    run_of(tmp_path / "two", Kept(), 30, checkpoint="model.ood")  # the training wrote it
    assert (tmp_path / "two/model.ood").read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"which this command would replace.*--out.*imood score"):
        keep_bench(tmp_path / "one", "imood", "--out")
    keep_bench(tmp_path, "imood", "--out")


def test_scikit_learn_takes_the_detector() -> None:
    adapter = as_sklearn(Darkness(), contamination=0.25)
    with pytest.raises(NotFittedError):
        adapter.predict(shades(0))
    train = shades(*range(100, 200))
    assert (adapter.fit(train).predict(train) == -1).sum() == 25
    assert (adapter.fit_predict(train) == adapter.predict(train)).all()
    assert adapter.score_samples(shades(0, 255)).tolist() == [0, 1]  # lower = more abnormal
    values = adapter.decision_function(shades(0, 255))
    assert values[0] < 0 < values[1]
    assert clone(adapter).get_params() == {"detector": Darkness(), "contamination": 0.25}
    own = as_sklearn(replace(Darkness(), threshold=-0.5))
    assert own.predict(shades(0, 255)).tolist() == [-1, 1]
    with pytest.raises(InputError, match="between 0 and 1"):
        as_sklearn(Darkness(), 0.0).fit(train)


def test_pytorch_ood_s_evaluation_loop_takes_the_detector() -> None:
    library = pytest.importorskip("pytorch_ood.metrics", reason="pytorch-ood is not installed")
    digits, letters = load("digits", "test").images[:40], load("letters", "test").images[:40]
    letters = resize(letters, (8, 8), channels=1).permute(0, 2, 3, 1).numpy()
    x = torch.stack([to_tensor(image) for image in [*digits, *letters]])
    y = torch.tensor([0] * 40 + [-1] * 40)  # negative: OOD, in that library
    detector, metrics = as_pytorch_ood(Darkness()), library.OODMetrics()
    for batch, labels in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 16):
        metrics.update(detector.fit(None)(batch), labels)
    expected = roc_auc_score((y < 0).numpy(), np.concatenate([Darkness().score(digits), Darkness().score(letters)]))
    assert metrics.compute()["AUROC"] == pytest.approx(expected, abs=1e-6)
    assert benchmark(x, y).evaluate(detector, {"batch_size": 16})[0]["AUROC"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="normalisation"):
        detector((x - 0.5) / 0.5)
    with pytest.raises(InputError, match="expected"):
        detector(x[0])


def benchmark(x, y):
    from pytorch_ood.benchmark.base import Benchmark

    class Letters(Benchmark):
        ood_names = ("letters",)

        def train_set(self):
            return torch.utils.data.TensorDataset(x[:40], y[:40])

        def test_sets(self, known=True, unknown=True):
            return [torch.utils.data.TensorDataset(x, y)]

    return Letters()


@dataclass(frozen=True)
class Broken(Darkness):
    """Of a network whose weights are NaN."""

    def outputs(self, images, batch_size=250):
        scores, classes = super().outputs(images)
        return scores * float("nan"), classes


def test_what_is_no_number_never_passes_for_id() -> None:
    for call in (Broken().score, replace(Broken(), threshold=0.1).predict):
        with pytest.raises(InputError, match="2 of 2 scores are NaN, the first at image 0"):
            call(shades(0, 9))
    for threshold in (float("nan"), "0.5"):
        with pytest.raises(InputError, match="expected a number"):
            replace(Darkness(), threshold=threshold).predict(shades(0))
    for size in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="batch size"):
            Darkness().score(shades(0), batch_size=size)
    nan = torch.full((2, 1, 8, 8), float("nan"))
    pytest.importorskip("pytorch_ood", reason="pytorch-ood is not installed")
    for batch in (nan, nan[:0], nan.numpy()):
        with pytest.raises(InputError, match="The batch"):
            as_pytorch_ood(Darkness())(batch)
    with pytest.raises(InputError, match="rows of features"):
        as_sklearn(Darkness()).fit(shades(0, 9).reshape(2, -1))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 10**9], None, r"expected each of 0 to 2"),
        ([0.9, 1.7, 0.2], None, "float64"),
        ([True, False, True], None, "bool"),
        (["a", "b", "a"], None, "whole numbers"),
        ([[0], [0, 1], [2]], None, "differ|lengths"),
        ([0, 2, 2], None, "expected each of 0 to 1"),
        ([0, 1, 1], ["a", "b", "c"], "expected each of 0 to 2"),
        ([0, 1, 1], "ab", "a list of names"),
        ([0, 1, 1], 2, "a list of names"),
        ([0, 1, 1], ["a", "a"], "expected different names"),
        (None, None, "whole numbers"),
    ],
)
def test_labels_that_are_none_are_refused(labels, classes, message) -> None:
    with pytest.raises(InputError, match=message):
        as_labels(labels, 3, classes)


def test_labels_come_with_their_names() -> None:
    numbers, names = as_labels(torch.tensor([1, 0, 1]).requires_grad_(False), 3)
    assert (numbers.tolist(), names) == ([1, 0, 1], ("0", "1"))
    assert as_labels(np.array([0, 1, 1], np.uint64), 3, ["a", "b"])[1] == ("a", "b")


def test_a_fit_needs_a_folder_of_its_own_and_leaves_the_caller_s_generators(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with fitting_in(tmp_path / "new") as folder:
        torch.manual_seed(99)
        (folder / "weights").write_bytes(b"")
    assert torch.equal(torch.rand(2), expected)
    for used in (tmp_path / "new", tmp_path / "new/weights"):
        with pytest.raises(InputError, match="not an empty folder"), fitting_in(used):
            pass
    with pytest.raises(InputError, match="cannot be made"), fitting_in(tmp_path / "new/weights/below"):
        pass
    with fitting_in(None) as temporary:
        assert temporary.is_dir()
    assert not temporary.exists()


@pytest.mark.parametrize(
    "words",
    [{"budget": "smok"}, {"backbone": "comon"}, {"mirror": "maybe"}, {"seed": -1}, {"seed": 1.5}, {"seed": 2**70}],
)
def test_a_request_of_unknown_words_is_refused(words) -> None:
    with pytest.raises(InputError, match=f"{next(iter(words))}"):
        Request("digits", "letters", **words)


def test_a_user_s_own_size_is_the_native_one_where_it_is_smaller() -> None:
    small = as_benchmark(shades(0, 9).repeat(2, axis=0)[:, :5, :6], [0, 0, 1, 1], prepare)
    assert small.native == (5, 6)
    assert as_benchmark(shades(0, 9), [0, 1], prepare).native == (8, 8)
    with pytest.raises(InputError, match="True or False"):
        as_benchmark(shades(0, 9), [0, 1], prepare, mirror="no")

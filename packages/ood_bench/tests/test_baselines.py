"""The plain detectors on one classifier, alone and in `ood-bench`."""

import json

import numpy as np
import pytest
import torch
from ood_bench import baseline_detector, baseline_training, baselines, command, methods, processes
from ood_bench.baseline_rules import RULES
from ood_bench.classifier import Classifier
from ood_shared import model_file
from ood_shared.backbone import SmallResNet
from ood_shared.contract import Common, Request
from ood_shared.datasets import load
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.results.record import read_result, split_scores
from ood_shared.scores import energy, max_logit, msp
from ood_shared.training import Compute

SMALL = Common(120, 40, 20, 24, "smallresnet10")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A schedule of seconds; the test runs in an empty folder."""
    monkeypatch.setitem(baselines.COMMON, "smoke", SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def passed():
    """A classifier with features and logits of some images."""
    torch.manual_seed(0)
    classifier = of_network(SmallResNet(3).eval(), (8, 8))
    images = torch.randint(0, 256, (90, 3, 32, 32), dtype=torch.uint8)
    return classifier, images, baseline_training.one_pass(classifier, images, "fp32")


def of_network(network, native=None) -> Classifier:
    return Classifier(network, baseline_training.common_inputs(native))


def detector_of(name: str, passed) -> baseline_detector.BaselineDetector:
    classifier, _, fit = passed
    fitted = RULES[name].fit(classifier, fit, torch.arange(90) % 3)
    return baseline_detector.BaselineDetector(name, classifier, fitted, ("a", "b", "c"))


def scores_of(name: str, passed) -> torch.Tensor:
    return detector_of(name, passed).outputs(passed[1])[0].float()


@pytest.mark.parametrize(("name", "own"), [("msp", msp), ("max_logit", max_logit), ("energy", energy)])
def test_scores_of_logits_are_those_of_the_shared_functions(passed, name, own):
    expected = own(passed[2][1])
    torch.testing.assert_close(scores_of(name, passed) - scores_of(name, passed)[0], expected - expected[0])


@pytest.mark.parametrize("name", baselines.DETECTORS)
def test_every_detector_gives_a_finite_score_an_image(passed, name):
    found = scores_of(name, passed)
    assert found.shape == (90,)
    assert torch.isfinite(found).all()
    assert len(found.unique()) > 1


def test_knn_is_the_distance_to_the_kth_nearest_training_feature(passed):
    features = torch.nn.functional.normalize(passed[2][0], dim=1)
    expected = torch.cdist(features.double(), features.double()).topk(50, largest=False).values[:, -1]
    torch.testing.assert_close(scores_of("knn", passed).double(), expected, rtol=1e-3, atol=1e-4)


def test_react_is_the_energy_of_clipped_features(passed):
    (features, _), network = passed[2], passed[0].network
    threshold = float(np.percentile(features.numpy(), 90))
    expected = energy(network.fc(features.clamp(max=threshold)).detach())
    torch.testing.assert_close(scores_of("react", passed), expected)


def test_one_pass_gives_what_the_network_gives(passed):
    classifier, images, (features, logits) = passed
    network = classifier.network
    with torch.no_grad():
        torch.testing.assert_close(logits, network(baseline_training.normalised(images)), rtol=1e-4, atol=1e-4)
    assert float(features.min()) >= 0


def test_noise_is_normalised_in_the_scale_of_0_to_1():
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(baseline_training.normalised(images), baseline_training.normalised(torch.ones(1, 3, 2, 2)))


def test_the_classifier_learns_what_can_be_learnt():
    labels = torch.arange(120) % 2
    images = (labels * 200)[:, None, None, None].expand(-1, 3, 32, 32).to(torch.uint8).contiguous()
    benchmark = Benchmark(images, labels, images, labels, ("dark", "bright"), {})
    network = baseline_training.train(
        benchmark, SMALL, 0, Compute(torch.device("cpu")), torch.Generator().manual_seed(0)
    )
    predicted = baseline_training.one_pass(of_network(network), images, "fp32")[1].argmax(dim=1)
    assert torch.equal(predicted, labels)


def test_each_detector_has_a_result_of_its_own_from_one_classifier(small):
    words = ["--id", "digits", "--ood", "letters,gaussian", "--detectors", "msp,knn", "--output-dir", "out"]
    assert baselines.main([*words, "--device", "cpu"]) == 0
    first, second = (read_result(f"out/{name}")[0] for name in ("msp", "knn"))
    assert (first["method"], second["method"]) == ("msp", "knn")
    assert first["checkpoint_sha256"] == second["checkpoint_sha256"]
    assert first["id_accuracy"] == second["id_accuracy"]
    assert first["config"]["parameters"] == sum(p.numel() for p in SmallResNet(10).parameters())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bench of all detectors on half of a second's training."""
    out = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(baselines.COMMON, "smoke", SMALL)
        words = ["--id", "digits", "--ood", "letters,gaussian", "--output-dir", str(out), "--device", "cpu"]
        assert baselines.main(words) == 0
    return out


@pytest.mark.parametrize("name", baselines.DETECTORS)
def test_the_file_of_every_detector_gives_the_scores_of_its_run_to_the_bit(folder, name):
    record, arrays = read_result(folder / name)
    generator = torch.Generator().manual_seed(0)
    benchmark = read_benchmark(Request("digits", "letters,gaussian"), 32, 3, generator, 120, 40)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    loaded = model_file.load(folder / name / "model.ood", "cpu")
    assert torch.equal(torch.rand(1), expected)  # the caller's generator was not moved
    for images, scores in zip(benchmark.scored("digits").values(), split_scores(arrays), strict=True):
        assert (loaded.outputs(images)[0].numpy() == scores).all()
    assert (loaded.scores == split_scores(arrays)[0]).all()
    assert loaded.about["method"] == name == record["method"]
    assert 0 < loaded.alarm_rate <= 0.05 < 1
    assert loaded.detector.classifier.inputs.native == (8, 8)


@pytest.mark.parametrize("name", baselines.DETECTORS)
def test_a_score_does_not_depend_on_the_images_beside_it(passed, name):
    detector, images = detector_of(name, passed), load("digits", "test").images[:20]
    whole = detector.score(images)
    assert (np.concatenate([detector.score(images[:7]), detector.score(images[7:])]) == whole).all()


@pytest.mark.parametrize("name", baselines.DETECTORS)
def test_a_state_that_was_forged_is_refused_in_words(passed, name):
    good = detector_of(name, passed).state()
    cpu = torch.device("cpu")
    again = baseline_detector.restore(plain(good), cpu)
    assert torch.equal(again.outputs(passed[1])[0], detector_of(name, passed).outputs(passed[1])[0])
    for part in ("network.fc.weight", *(part for part in good.tensors if part.startswith("fitted."))):
        lacking = {key: value for key, value in good.tensors.items() if key != part}
        with pytest.raises(InputError, match=part.split(".", 1)[1] if part.startswith("network") else part):
            baseline_detector.restore(plain(good, tensors=lacking), cpu)
        with pytest.raises(InputError, match="expected"):
            baseline_detector.restore(plain(good, tensors={**good.tensors, part: torch.zeros(2, 3, 4)}), cpu)
    for word, value in (("rule", "mps"), ("network", "resnet18"), ("precision", "fp8")):
        with pytest.raises(InputError, match=f"`{word}` is .*expected"):
            baseline_detector.restore(plain(good, **{word: value}), cpu)
    for inputs in (None, {"side": "64"}, {**good.settings["inputs"], "native": [8, -8]}):
        with pytest.raises(InputError):
            baseline_detector.restore(plain(good, inputs=inputs), cpu)


def plain(state, tensors=None, **settings):
    """The state as a file gives it, with other parts."""
    read = json.loads(json.dumps({**state.settings, **settings}))
    return State(state.kind, state.classes, read, state.tensors if tensors is None else tensors)


def test_an_unknown_detector_comes_with_the_nearest_name(small, capsys):
    words = ["--id", "digits", "--ood", "letters", "--detectors", "mps", "--output-dir", "out"]
    assert baselines.main(words) == 2
    assert "--detectors `mps` is not known. Did you mean `msp`?" in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_extra_that_brings_it(small, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_ood", None)
    assert baselines.main(["--id", "digits", "--ood", "letters", "--output-dir", "out"]) == 2
    assert "extra `baselines` of ood-bench" in capsys.readouterr().err


def test_all_baselines_and_some_are_one_process():
    (everything,) = methods.choose(["baselines"])
    assert everything.methods == baselines.DETECTORS
    (some,) = methods.choose(["knn", "msp"])
    assert some.methods == ("knn", "msp")
    assert some.arguments == ("--detectors", "knn,msp")


def test_without_the_library_the_default_is_the_packages_alone(monkeypatch):
    monkeypatch.setattr(methods, "installed", lambda: {"own": "own.bench"})
    monkeypatch.setattr(methods, "_has_library", lambda: False)
    assert [source.name for source in methods.choose(None)] == ["own", "fused"]


def test_an_unknown_method_comes_with_baselines_among_the_known():
    with pytest.raises(InputError, match="Did you mean `mahalanobis`"):
        methods.choose(["mahalanobs"])


def test_ood_bench_compares_baselines_and_keeps_them_on_resume(small, monkeypatch, capsys):
    def run_here(command_line, log, *_):
        log.touch()
        return processes.Outcome(baselines.main(command_line[3:]), 1.0)

    monkeypatch.setattr(processes, "run", run_here)  # in its own process it would train by the long schedule
    words = ["--methods", "msp,energy", "--id", "digits", "--novel-classes", "none", "--ood", "letters"]
    words += ["--output-dir", "out", "--device", "cpu"]
    assert command.main(words) == 0
    report = json.loads((small / "out" / "results.json").read_text())
    assert [row["method"] for row in report["summary"]] == ["msp", "energy"]
    assert [record["method"] for record in report["runs"][0]["results"]] == ["msp", "energy"]
    capsys.readouterr()
    assert command.main([*words, "--resume"]) == 0
    assert "finished before, kept" in capsys.readouterr().err
    (small / "out" / "baselines" / "seed-0" / "energy" / "result.json").unlink()
    assert command.main([*words, "--resume"]) == 0
    assert "finished before, kept" not in capsys.readouterr().err

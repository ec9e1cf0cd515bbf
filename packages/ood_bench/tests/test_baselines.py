"""The plain detectors on one classifier, alone and in `ood-bench`."""

import json

import numpy as np
import pytest
import torch
from ood_bench import baseline_detectors, baselines, command, methods
from ood_shared.backbone import SmallResNet
from ood_shared.contract import Common
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.errors import InputError
from ood_shared.results.record import read_result
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
    """A network with features and logits of some images."""
    torch.manual_seed(0)
    network = SmallResNet(3).eval()
    images = torch.randint(0, 256, (90, 3, 32, 32), dtype=torch.uint8)
    return network, images, baseline_detectors.one_pass(network, images, "fp32")


def scores_of(name: str, passed) -> torch.Tensor:
    network, images, (features, logits) = passed
    score = baseline_detectors.DETECT[name](network, (features, logits), torch.arange(90) % 3)
    return score(images, features, logits)


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
    network, _, (features, _) = passed
    threshold = float(np.percentile(features.numpy(), 90))
    expected = energy(network.fc(features.clamp(max=threshold)).detach())
    torch.testing.assert_close(scores_of("react", passed), expected)


def test_one_pass_gives_what_the_network_gives(passed):
    network, images, (features, logits) = passed
    with torch.no_grad():
        torch.testing.assert_close(logits, network(baseline_detectors.normalised(images)), rtol=1e-4, atol=1e-4)
    assert float(features.min()) >= 0


def test_noise_is_normalised_in_the_scale_of_0_to_1():
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(baseline_detectors.normalised(images), baseline_detectors.normalised(torch.ones(1, 3, 2, 2)))


def test_the_classifier_learns_what_can_be_learnt():
    labels = torch.arange(120) % 2
    images = (labels * 200)[:, None, None, None].expand(-1, 3, 32, 32).to(torch.uint8).contiguous()
    benchmark = Benchmark(images, labels, images, labels, ("dark", "bright"), {})
    network = baseline_detectors.train(
        benchmark, SMALL, 0, Compute(torch.device("cpu")), torch.Generator().manual_seed(0)
    )
    predicted = baseline_detectors.one_pass(network, images, "fp32")[1].argmax(dim=1)
    assert torch.equal(predicted, labels)


def test_each_detector_has_a_result_of_its_own_from_one_classifier(small):
    words = ["--id", "digits", "--ood", "letters,gaussian", "--detectors", "msp,knn", "--output-dir", "out"]
    assert baselines.main([*words, "--device", "cpu"]) == 0
    first, second = (read_result(f"out/{name}")[0] for name in ("msp", "knn"))
    assert (first["method"], second["method"]) == ("msp", "knn")
    assert first["checkpoint_sha256"] == second["checkpoint_sha256"]
    assert first["id_accuracy"] == second["id_accuracy"]
    assert first["config"]["parameters"] == sum(p.numel() for p in SmallResNet(10).parameters())


def test_an_unknown_detector_comes_with_the_nearest_name(small, capsys):
    words = ["--id", "digits", "--ood", "letters", "--detectors", "mps", "--output-dir", "out"]
    assert baselines.main(words) == 2
    assert "--detectors `mps` is not known. Did you mean `msp`?" in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_extra_that_brings_it(small, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_ood", None)
    assert baselines.main(["--id", "digits", "--ood", "letters", "--output-dir", "out"]) == 2
    assert "ood-bench[baselines]" in capsys.readouterr().err


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


def test_ood_bench_compares_baselines_and_keeps_them_on_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--methods", "msp,energy", "--id", "digits", "--novel-classes", "none", "--ood", "letters"]
    words += ["--output-dir", "out", "--device", "cpu"]
    assert command.main(words) == 0
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["method"] for row in report["summary"]] == ["msp", "energy"]
    assert [record["method"] for record in report["runs"][0]["results"]] == ["msp", "energy"]
    capsys.readouterr()
    assert command.main([*words, "--resume"]) == 0
    assert "finished before, kept" in capsys.readouterr().err
    (tmp_path / "out" / "baselines" / "seed-0" / "energy" / "result.json").unlink()
    assert command.main([*words, "--resume"]) == 0
    assert "finished before, kept" not in capsys.readouterr().err

"""The console command, its help, and the bench."""

import subprocess
import sys

import pytest
from imood import cli
from ood_shared.contract import COMMON, Common
from ood_shared.results.record import read_result
from ood_shared.results.thumbnails import read_pictures
from ood_shared.testing.commands import clean_environment


@pytest.mark.parametrize("step", ["train", "test", "bench"])
def test_help_and_mistyped_flags_are_answered_without_torch(step):
    code = f"import sys; from imood import cli\ntry: cli.main(['{step}', '--help'])\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment(), timeout=120
    )
    assert found.stdout.splitlines()[-1] == "False", found.stderr


def test_every_flag_of_the_two_commands_is_explained():
    for parser in (cli.train_parser(), cli.test_parser()):
        for action in parser._actions:
            assert action.help, action.option_strings


def test_a_step_that_is_not_named_or_not_known_is_one_line(capsys):
    assert cli.main([]) == 2
    assert "no command given" in capsys.readouterr().err
    assert cli.main(["tran"]) == 2
    assert "Did you mean `train`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backbone", "model", "ratio"), [("common", "smallresnet10", None), ("paper", "ResNet18", 0.1)]
)
def test_the_bench_leaves_what_the_contract_asks_for(tmp_path, monkeypatch, done, backbone, model, ratio):
    from dataclasses import replace

    from imood import bench

    monkeypatch.setitem(bench.SCHEDULES, "smoke", replace(bench.SCHEDULES["smoke"], width=2, steps=4, test_images=40))
    monkeypatch.setitem(COMMON, "smoke", Common(200, 40, 4, 32, "smallresnet10"))
    monkeypatch.chdir(tmp_path)
    done("bench", "--id", "digits", "--ood", "textures,sphere", "--seed", "3", "--device", "cpu", "--novel-classes",
         "8,9", "--output-dir", "out", "--backbone", backbone)  # fmt: skip
    record, arrays = read_result(tmp_path / "out")
    assert record["ood_datasets"] == ["novel", "textures", "sphere"]
    assert record["seed"] == 3
    outliers = "photos+blobs" if backbone == "common" else "photos"
    assert record["config"]["aux_outliers"] == outliers
    counts = record["config"]["class_counts"]
    assert len(counts) == 8
    if ratio is None:
        assert sum(counts) == 200  # all images, however unequal the classes
    else:
        assert min(counts) / max(counts) == pytest.approx(ratio, rel=0.4)
    assert (record["config"]["backbone"], record["config"]["model"]) == (backbone, model)
    assert record["config"]["score"] == "bin_disc_joint"  # the paper's own stands beside it
    assert list(record["other_scores"]) == ["bin_disc"]
    assert list(record["other_scores"]["bin_disc"]) == record["ood_datasets"]
    assert {"auroc", "aupr_out", "fpr95"} <= set(record["other_scores"]["bin_disc"]["novel"])
    assert record["config"]["mirror"] == (backbone == "paper")
    assert record["config"]["extra_data"] == f"outliers: {outliers}"
    assert list(read_pictures(tmp_path / "out", arrays).sets) == arrays["names"].tolist()
    assert arrays["names"].tolist() == ["digits", "novel", "textures", "sphere"]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--ood", "textures,textures", "--output-dir", "x"], "more than once"),
        (["--ood", "textures"], "--output-dir is missing"),
        (["--ood", "nothing", "--output-dir", "x"], "`nothing`"),
    ],
)
def test_bad_input_of_the_bench_is_one_line(tmp_path, monkeypatch, run, argv, word):
    monkeypatch.chdir(tmp_path)
    assert word in run("bench", "--id", "digits", "--device", "cpu", *argv).error


def test_the_bench_is_registered():
    from importlib import metadata

    registered = {entry.name: entry.value for entry in metadata.entry_points(group="ood_shared.bench")}
    if "imood" not in registered:
        pytest.skip("the environment was installed before the bench was there")
    assert registered["imood"] == "imood.bench"

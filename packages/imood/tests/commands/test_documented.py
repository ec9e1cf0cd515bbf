"""The documented commands on a small tree: files, printed lines, and one pass for all metrics."""

import json
import shutil

import pytest
import yaml
from ood_shared.locks import claimed
from ood_shared.results.record import read_result

from ..conftest import SETS, SMALL

TRAIN = (
    "--gpu", "0", "--ds", "cifar10", "--e", "1", "--drp", "data", "--srp", "runs", "--imbalance_ratio", ".1",
    "--logit_adjust", "1.0", "--ood_metric", "ada_bin_disc", "--Lambda", "0.5", "--Lambda2", "0.05",
    "--aux_ood_loss", "pascl", "--width", "4", "-b", "16",
)  # fmt: skip
RUN = (
    "runs/cifar10-0.1-OOD30000/ResNet18-w4/e1-b16-adam-lr0.001-wd0.0005-cos_"
    "LA1.0-ada_bin_disc-pascl-Lambda0.5-Lambda20.05-T0.07-sign-k0.4"
)


def test_the_documented_scripts_train_and_test(place, script):
    """As processes, and with the one warning line for a GPU that is not there."""
    found = script("train.py", *TRAIN, cwd=place)
    assert found.status == 0, found.err
    assert found.err.count("GPU 0 was asked for") == 1
    assert "(train): loss" in found.out
    assert (place / RUN / "latest.pth").is_file()
    arguments = yaml.safe_load((place / RUN / "args.yaml").read_text())
    assert list(arguments)[:4] == ["gpu", "num_workers", "data_root_path", "dataset"]
    assert arguments["save_dir"] == RUN
    assert arguments["seed"] is not None
    shutil.copytree(place / RUN, place / "weights/cifar10/ada_bin_disc")
    tested = script(
        "test.py", "--gpu", "0", "--ds", "cifar10", "--model", "ResNet18", "--drp", "data", "--ood_metric", "bin_disc",
        "--ckpt_path", "weights/cifar10/ada_bin_disc", "--rho", "0.1", cwd=place,
    )  # fmt: skip
    assert tested.status == 0, tested.err
    lines = tested.out.splitlines()
    assert [line for line in lines if line.startswith("===")] == [f"==={name}===" for name in SETS]
    assert sum(line.startswith("auroc: ") for line in lines) == len(SETS)
    assert lines[lines.index("Total:") + 1].startswith("OOD: auroc: ")
    assert any(line.startswith("ACC: ") for line in lines)
    assert any(line.startswith("ACC@FPR") for line in lines)
    at = place / "weights/cifar10/ada_bin_disc"
    assert "===Total===" in (at / "res.txt").read_text()
    assert len((at / "res.csv").read_text().splitlines()) == 12


def test_a_documented_test_leaves_the_shared_result(place, done, trained, drawn):
    shutil.copytree(trained, place / "run")
    done("test", "--gpu", "cpu", "--ds", "cifar10", "--ood_metric", "bin_disc", "--ckpt_path", "run", "--rho", "0.1")
    record, arrays = read_result(place / "run")
    assert record["method"] == "imood"
    assert record["ood_datasets"] == list(SETS)
    assert record["config"]["class_counts"] == [30, 23, 17, 13, 10, 8, 6, 5, 3, 3]
    assert set(record["group_auroc"]) == {"many", "median", "low"}
    assert list(record["predicted_groups"]) == ["cifar10", *SETS]
    assert all(sum(shares.values()) == pytest.approx(1) for shares in record["predicted_groups"].values())
    assert (arrays["labels"] >= 0).sum() == 60
    assert all((place / "run" / name).is_file() for name in ("roc.png", "histograms.png"))
    assert "Outlier sets" in (place / "run/report.html").read_text()


def test_all_metrics_and_taus_share_one_pass(place, done, trained, monkeypatch):
    import imood.evaluate

    passes = []
    original = imood.evaluate.run_passes

    def counted(*parts):
        passes.append(1)
        return original(*parts)

    monkeypatch.setattr(imood.evaluate, "run_passes", counted)
    found = done("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--ood_metric", "all", "--tau", "0.5,1.0",
                 "--output-dir", "out")  # fmt: skip
    assert len(passes) == 1
    rows = json.loads((place / "out/all.json").read_text())
    assert {(row["metric"], row["tau"]) for row in rows} == {
        (metric, tau) for metric in ("bin_disc", "bin_disc_joint", "ada_bin_disc") for tau in (0.5, 1.0)
    }
    assert len({row["accuracy"] for row in rows}) == 1
    assert (place / "out/ada_bin_disc-tau0.5/res.txt").is_file()
    assert "AUROC of many, median, low" in found.out


def test_the_consistent_posterior_adds_the_prior_of_the_training(place, done, trained, tmp_path):
    """The run was trained with tau 1. Without its config.json the tau is taken as 0, and a line says so."""
    words = ("test", "--gpu", "cpu", "--ds", "cifar10", "--rho", "0.1", "--ood_metric", "ada_bin_disc", "--ckpt_path")
    done(*words, str(trained), "--output-dir", "published")
    done(*words, str(trained), "--posterior", "consistent", "--output-dir", "consistent")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(trained / "latest.pth", alone)
    unknown = done(*words, str(alone), "--posterior", "consistent", "--output-dir", "unknown")
    assert "does not say the tau" in unknown.out
    own = "ada_bin_disc-tau1.0-consistent"  # a folder that the published numbers never have
    folders = {"published": "published", "consistent": f"consistent/{own}", "unknown": f"unknown/{own}"}
    found = {name: read_result(place / folder) for name, folder in folders.items()}
    assert (found["published"][1]["scores"] == found["unknown"][1]["scores"]).all()
    assert (found["published"][1]["scores"] != found["consistent"][1]["scores"]).any()
    assert (found["published"][1]["predictions"] == found["consistent"][1]["predictions"]).all()
    config = found["consistent"][0]["config"]
    assert (config["posterior"], config["trained_logit_adjust"]) == ("consistent", 1.0)


def test_a_posterior_without_a_balanced_metric_is_noted(place, done, trained):
    words = ("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--ood_metric", "bin_disc", "--output-dir", "out")
    assert "--posterior concerns the ada_ metrics only" in done(*words, "--posterior", "consistent").out


def test_what_one_metric_gives_alone_it_gives_among_all(place, done, trained):
    done("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--ood_metric", "all", "--output-dir", "all")
    done("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--ood_metric", "ada_bin_disc", "--output-dir", "one")
    for name in ("res.txt", "res.csv"):
        assert (place / "all/ada_bin_disc-tau1.0" / name).read_text() == (place / "one" / name).read_text()


def test_the_test_takes_data_model_and_ratio_of_the_run(place, done, trained):
    """Only the folder has to be named."""
    found = done("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--output-dir", "out")
    assert "--- bin_disc, tau 1.0 ---" in found.out


def test_both_commands_run_offline_without_any_data(tmp_path, monkeypatch, done):
    monkeypatch.chdir(tmp_path)
    trained = done("train", "--gpu", "cpu", "-e", "1", "--width", "2", "--ood_metric", "oe", "--output-dir", "run")
    assert "training on the embedded digits" in trained.out
    tested = done("test", "--gpu", "cpu", "--ckpt_path", "run", "--ood_metric", "msp,ada_msp,gradnorm,maha")
    assert "textures" in tested.out
    assert (tmp_path / "run/id_feat_plain.pt").is_file()


def test_a_run_over_an_earlier_one_is_told_and_one_over_a_bench_refused(place, done, run, trained):
    shutil.copytree(trained, place / "run")
    words = ("train", *SMALL, "--ds", "cifar10", "-e", "1", "--output-dir", "run")
    with claimed(place / "run"):
        refused = run(*words)
    assert "is in use by another training" in refused.error
    assert "earlier run" not in refused.err
    assert "run holds an earlier run, which is overwritten" in done(*words).err
    assert "earlier run" not in done(*words, "--resume").err
    (place / "run/model.ood").touch()
    before = (place / "run/latest.pth").read_bytes()
    found = run(*words)
    assert found.status == 2
    assert "run holds the results of a bench" in found.err
    assert (place / "run/latest.pth").read_bytes() == before


def test_own_data_are_trained_and_tested(tmp_path, monkeypatch, done):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 9), ("test", 4)):
        for number, name in enumerate(("a", "b", "c")):
            for item in range(count):
                path = tmp_path / "mine" / split / name / f"{item}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (30, 40), (80 * number, 10 * item, 0)).save(path)
    done("train", "--gpu", "cpu", "-e", "1", "--width", "2", "--ds", "folder:mine", "--ood_aux", "letters",
         "--output-dir", "run")  # fmt: skip
    found = done("test", "--gpu", "cpu", "--ckpt_path", "run", "--ood_test", "near=folder:mine,photos")
    titles = [line.strip("=:") for line in found.out.splitlines() if line.startswith(("===", "Total"))]
    assert titles == ["near", "photos", "Total"]


@pytest.mark.parametrize("metric", ["ada_oe", "ada_maha"])
def test_resume_continues_in_the_folder_that_the_flags_name(place, done, metric):
    words = ("train", *SMALL, "--ds", "cifar10", "--ood_metric", metric)
    first = done(*words, "-e", "1")
    assert "epoch 0 batch 0" in first.out
    again = done(*words, "-e", "1", "--resume")
    assert "batch" not in again.out.split("seed")[1]  # nothing was left to train
    new = done(*words, "-e", "2", "--resume")  # another number of epochs is another folder: a new run
    assert "epoch 0 batch 0" in new.out


def test_resume_from_a_folder_writes_to_the_one_of_the_flags(place, done, trained):
    found = done("train", *SMALL, "--ds", "cifar10", "--ood_metric", "bin_disc", "-e", "3", "--resume", str(trained))
    assert "epoch 2 batch 0" in found.out
    assert "epoch 1 batch" not in found.out
    assert list((place / "runs").rglob("latest.pth"))


def test_a_timestamp_keeps_the_run_of_an_output_folder(place, done):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--output-dir", "run", "--timestamp")
    (folder,) = place.glob("run_2*")
    assert (folder / "latest.pth").is_file()
    assert not (place / "run").exists()


def test_a_resume_of_nothing_says_so(place, done):
    said = "note: --resume finds nothing in run: the training begins anew"
    assert said in done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--output-dir", "run", "--resume").out
    assert said not in done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--output-dir", "run", "--resume").out


def test_outliers_of_images_and_of_features_exclude_each_other(place, run):
    words = ("train", *SMALL, "--ds", "digits", "-e", "1", "--ood_ds", "VOS", "--ood_aux", "letters")
    assert "--ood_aux letters and --ood_aux_dataset VOS exclude each other" in run(*words).error
    assert not list(place.glob("run*"))


def test_the_timestamp_is_appended(place, done):
    found = done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--timestamp")
    import re

    assert re.search(r"-k0.4_\d{14}$", found.out.strip())


def test_tensorboard_files_are_written_on_request(place, done):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--log-to", "tensorboard", "--output-dir", "run")
    assert list((place / "run").glob("events.*"))


@pytest.mark.parametrize("metric", ["maha", "ada_maha"])
def test_the_sign_of_the_distance_can_be_the_published_one(place, done, metric):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--ood_metric", "maha", "--output-dir", "run")
    values = {}
    for sign in ("fixed", "legacy"):
        done("test", "--gpu", "cpu", "--ckpt_path", "run", "--ood_metric", metric, "--maha_sign", sign,
             "--output-dir", sign)  # fmt: skip
        values[sign] = json.loads((place / sign / "result.json").read_text())["published"]["mean"]["auroc"]
    assert values["fixed"] + values["legacy"] == pytest.approx(1, abs=0.02)


def test_balanced_scores_at_tau_0_are_warned_of(place, run, trained):
    found = run("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--ood_metric", "ada_bin_disc", "--tau", "0",
                "--output-dir", "out")  # fmt: skip
    assert found.status == 0
    assert "the prior is uniform" in found.err
    trained_at_0 = run("train", *SMALL, "--ds", "cifar10", "-e", "1", "--tau", "0", "--ood_metric", "ada_oe",
                       "--output-dir", "zero")  # fmt: skip
    assert "nothing is balanced" in trained_at_0.err

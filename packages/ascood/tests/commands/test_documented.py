"""Every command line of the document, on tiny data, on the CPU; only one epoch, and large images made small."""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ascood import imagenet
from ascood.data import openood
from ascood.networks import make_backbone
from ood_shared import blocks, checkpoints
from ood_shared.contract import COMMON
from torchvision.models import resnet18, resnet50

PACKAGE = Path(__file__).parents[2]
QUICK = ["--num_workers", "0", "--merge_option", "merge", "--num_gpus", "0", "--optimizer.num_epochs", "1"]
DOCUMENT_TRAIN = """
main.py --config configs/datasets/waterbird/waterbird.yml configs/networks/ascood_net.yml
configs/pipelines/train/train_ascood.yml configs/preprocessors/ascood_preprocessor.yml
--network.backbone.name resnet18_224x224 --network.backbone.pretrained True
--network.backbone.checkpoint ./results/pretrained_weights/resnet18-f37072fd.pth
--optimizer.lr 0.01 --optimizer.num_epochs 30
"""
DOCUMENT_TEST = """
scripts/eval_ood.py --id-data waterbirds --wrapper-net ASCOODNet
--root ./results/waterbird_ascood_net_ascood_e30_lr0.01_w0.1_p0.1_otype_gradient_nmg_30.0_300.0_default
--postprocessor odin --save-score --save-csv
"""
NO_APS = ["--no-aps", "--device", "cpu", "--num-workers", "0"]


def words_of(script):
    """The commands of a script, from the script itself: bash runs it with an `echo` in place of python."""
    code = 'python() { printf \'%q \' "$@"; echo; }; choose_root() { echo "$1"; }; source() { :; }; '
    text = (PACKAGE / "scripts" / script).read_text()
    found = subprocess.run(["bash", "-c", code + text, script], capture_output=True, text=True, check=True)
    return [shlex.split(line)[1:] for line in found.stdout.splitlines()]


@pytest.fixture(scope="module")
def everything(tmp_path_factory, make_benchmark):
    """Tiny data of all benchmarks and the pretrained weights, shared by the tests of this file."""
    at = tmp_path_factory.mktemp("all")
    for name in ("waterbirds", "celeba", "cars", "aircraft", "cifar10", "cifar100", "imagenet200", "imagenet"):
        make_benchmark(at / "data", name, per_class=1, outliers=1)
    weights = at / "results" / "pretrained_weights"
    torch.manual_seed(0)
    checkpoints.save(weights / "resnet18-f37072fd.pth", resnet18().state_dict())
    checkpoints.save(weights / "resnet50_imagenet1k_v1.pth", resnet50().state_dict())
    checkpoints.save(weights / "resnet50-0676ba61.pth", resnet50().state_dict())
    return at


@pytest.fixture
def here(everything, monkeypatch):
    """The folder; images of 224 and 448 pixels become 32, and are scored in blocks of 2 for sets of one or two."""
    monkeypatch.chdir(everything)
    monkeypatch.setattr(blocks, "BLOCK", 2)
    for name, facts in openood.ID.items():
        if facts.image_size > 32:
            monkeypatch.setitem(openood.ID, name, facts._replace(pre_size=36, image_size=32))
    real = imagenet.torchvision_network

    def small(*arguments):
        network, chain = real(*arguments)
        return network, replace(chain, pre_size=36, image_size=32)

    monkeypatch.setattr(imagenet, "torchvision_network", small)
    return everything


def test_the_lines_at_the_head_of_the_readme_run(place, monkeypatch, capsys):
    """The very lines, with a seventh of the steps; the page shows the output of all of them."""
    monkeypatch.setitem(COMMON, "smoke", replace(COMMON["smoke"], train_images=600, steps=40))
    code, shown = re.search(
        r"```python\n(.*?)```.*?```\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL
    ).groups()
    exec(code, {})
    form = r"\[ *(-?\d+\.\d+) +(-?\d+\.\d+)\] \[(\d)\]\n"
    for text in (shown, capsys.readouterr().out):
        of_digit, of_face, label = re.fullmatch(form, text).groups()
        assert float(of_digit) < float(of_face)
        assert label == "0"


def small_images(name):
    """Overrides for the training of data sets whose images are large."""
    return [] if "cifar" in name else ["--dataset.pre_size", "36", "--dataset.image_size", "32"]


def epochs_1(folder):
    """The folder's name when one epoch is trained."""
    for number in ("e30", "e100"):
        folder = folder.replace(f"_{number}_", "_e1_")
    return folder


@pytest.mark.parametrize("name", ["waterbirds", "cars", "aircraft", "cifar10", "cifar100", "celeba"])
def test_a_training_script_and_its_test_script_run_one_after_the_other(here, done, name):
    (train,) = words_of(f"ood/ascood/{name}_train_ascood.sh")
    done("train", *train, *QUICK, *small_images(name))
    tests = words_of(f"ood/ascood/{name}_test_ascood.sh")
    (test, *_) = tests
    root = test[test.index("--root") + 1]
    fallback = {
        "celeba": "celeba_ascood_net_ascood_e1_lr0.01_w1.0_p0.1_otype_gaussian_nmg_0.1_0.1_default",
        "cifar10": "cifar10_ascood_net_ascood_e1_lr0.1_w1.0_p0.15_otype_shuffle_nmg_30.0_300.0_default",
        "cifar100": "cifar100_ascood_net_ascood_e1_lr0.1_w5.0_p0.1_otype_shuffle_nmg_30.0_300.0_default",
    }
    expected = Path("results") / fallback[name] if name in fallback else Path(epochs_1(root))
    assert expected.is_dir(), sorted(path.name for path in Path("results").iterdir())
    if name in fallback:
        trained = f"trained=./results/{fallback[name].replace('_e1_', '_e100_' if 'cifar' in name else '_e30_')}"
        assert trained in (PACKAGE / "scripts/ood/ascood" / f"{name}_test_ascood.sh").read_text()
    test[test.index("--root") + 1] = str(expected)
    done("eval_ood", *test, *NO_APS)
    score = test[test.index("--postprocessor") + 1]
    header, *rows = (expected / "ood" / f"{score}.csv").read_text().splitlines()
    assert header == ",FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC"
    assert {"nearood", "farood"} <= {row.split(",")[0] for row in rows}


def test_the_documents_training_and_inference_examples_run(here, done):
    train, test = DOCUMENT_TRAIN.split()[1:], DOCUMENT_TEST.split()[1:]
    done("train", *train, *QUICK, *small_images("waterbird"))
    written = Path("results/waterbird_ascood_net_ascood_e1_lr0.01_w1.0_p0.1_otype_gradient_nmg_30.0_300.0_default")
    assert (written / "s0" / "best.ckpt").is_file()
    root = Path(test[test.index("--root") + 1])
    written.rename(root)  # the example's inference names the folder of a run with w 0.1
    done("eval_ood", *test, *NO_APS)
    assert (root / "ood" / "odin.csv").is_file()
    result = json.loads((root / "s0" / "results" / "odin" / "result.json").read_text())
    assert result["method"] == "ascood"
    assert set(result["metrics"]) == {"waterbirds_ood", "ninco", "openimage_o", "sun", "texture", "inaturalist"}


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet200"])
def test_the_i_odin_scripts_run(here, done, name):
    for words in words_of(f"ood/iodin/{name}_test_ood_iodin.sh"):
        root = Path(words[words.index("--root") + 1])
        classes = {"cifar10": 10, "cifar100": 100, "imagenet200": 200}[name]
        kind = "resnet18_224x224" if name == "imagenet200" else "resnet18_32x32"
        for seed in (0, 1) if name == "cifar10" else (0,):
            checkpoints.save(root / f"s{seed}" / "best.ckpt", make_backbone(kind, classes).state_dict())
        done("eval_ood", *words, *NO_APS)
        table = root / ("fsood" if "--fsood" in words else "ood") / "iodin.csv"
        assert " ± " in table.read_text()


def test_the_imagenet_i_odin_script_runs(here, done):
    for words in words_of("ood/iodin/imagenet_test_ood_iodin.sh"):
        done("eval_ood_imagenet", *words, *NO_APS)
    root = Path("results/imagenet_resnet50_tvsv1_base_default")
    n_id = []
    for folder, of in (("ood", "iodin"), ("fsood", "iodin_fsood")):
        text = (root / folder / "iodin.csv").read_text()
        assert "±" not in text
        printed = next(line.split(",") for line in text.splitlines() if line.startswith("openimage_o"))
        cells = json.loads((root / "results" / of / "result.json").read_text())["metrics"]["openimage_o"]
        assert 100 * cells["auroc"]["value"] == pytest.approx(float(printed[2]), abs=0.006)
        n_id.append(cells["n_id"])
    assert n_id[1] > n_id[0]  # with the covariate-shifted sets


@pytest.mark.parametrize("script", ["download", "download_ascood"])
def test_the_download_scripts_say_what_is_missing(place, run, script):
    (words,) = words_of(f"download/{script}.sh")
    found = run("download", *words)
    assert found.status == 1
    assert "They cannot be fetched from here" in found.err


def test_arguments_of_a_training_script_reach_main(process):
    """As a process: bash, the thin script, and an error that shows that the override arrived."""
    script = "scripts/ood/ascood/waterbirds_train_ascood.sh"
    found = process("bash", script, "--trainer.trainer_args.ood_type", "gradiant", cwd=PACKAGE)
    assert "Did you mean `gradient`?" in found.error


def test_a_test_script_without_runs_names_both_folders(process, tmp_path):
    found = process("bash", str(PACKAGE / "scripts/ood/ascood/cifar10_test_ascood.sh"), cwd=tmp_path)
    assert found.status == 2
    assert "nmg_1.0_1.0_random" in found.err
    assert "nmg_30.0_300.0_default" in found.err


@pytest.mark.parametrize("alias", [path.name for path in (PACKAGE / "scripts/ood/iodin").glob("*_odin.sh")])
def test_the_published_names_of_the_i_odin_scripts_are_aliases(alias):
    text = (PACKAGE / "scripts/ood/iodin" / alias).read_text()
    assert alias.replace("_odin.sh", "_iodin.sh") in text

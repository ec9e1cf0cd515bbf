"""What goes wrong: one clear line, status 2, nothing half-written."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ascood import state
from ascood.build import load_pretrained
from ascood.data.samples import read_imglist
from ascood.networks import make_backbone
from ood_shared import checkpoints
from ood_shared.errors import InputError
from ood_shared.locks import RUN_LOCK, held
from PIL import Image

QUICK = ["--num_workers", "0", "--merge_option", "merge", "--num_gpus", "0"]
DIGITS = ["--id-data", "digits", "--network.backbone.name", "lenet", "--optimizer.num_epochs", "1", *QUICK]
CIFAR = [
    *("--config", "configs/datasets/cifar10/cifar10.yml", "configs/networks/ascood_net.yml"),
    *("configs/pipelines/train/train_ascood.yml", "configs/preprocessors/ascood_preprocessor.yml", *QUICK),
    *("--network.backbone.name", "lenet", "--optimizer.num_epochs", "1"),
]


def test_a_misspelt_key_names_the_nearest(place, run):
    error = run("train", *DIGITS, "--trainer.trainer_args.ood_typ", "shuffle").error
    assert "Did you mean `trainer.trainer_args.ood_type`?" in error
    assert not (place / "results").exists()


def test_a_misspelt_key_of_a_yml_file_is_told(trained, place, done):
    (place / "own.yml").write_text("optimiser:\n  lr: 0.5\ntrainer:\n  trainer_args:\n    p_in: 0.5\n")
    base = "configs/networks/ascood_net.yml configs/pipelines/train/train_ascood.yml"
    found = done("train", "--config", *base.split(), "own.yml", *OWN)
    assert "`optimiser` is not used. Did you mean `optimizer`?" in found.err
    assert "trainer.trainer_args.p_in is not used. Did you mean `p_inv`?" in found.err


def test_a_missing_yml_file_names_the_nearest(place, run):
    error = run("train", "--config", "configs/datasets/cifar10/cifar_10.yml").error
    assert "is missing" in error
    assert "configs/datasets/cifar10/cifar10.yml" in error


def test_no_config_at_all_says_what_to_pass(place, run):
    assert "--id-data digits" in run("train").error


def test_a_key_that_stands_twice_is_refused(place, run):
    (place / "twice.yml").write_text("a: 1\na: 2\n")
    assert "stands twice" in run("train", "--config", "twice.yml").error


def test_a_pipe_in_place_of_a_yml_file_is_called_one_and_not_waited_for(place, run):
    os.mkfifo(place / "pipe.yml")
    assert "pipe.yml is a pipe, not a regular file" in run("train", "--config", "pipe.yml").error


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ood_type", "shufle", "Did you mean `shuffle`?"),
        ("p_inv", "1.5", "fraction from 0 to 1"),
        ("w", "-1", "0 or more"),
        ("sigma", "0", "above 0"),
    ],
)
def test_a_bad_hyper_parameter_is_refused_before_anything_is_written(place, run, key, value, says):
    assert says in run("train", *DIGITS, f"--trainer.trainer_args.{key}", value).error
    assert list(place.iterdir()) == []


def test_an_unknown_trainer_or_network_names_the_known(place, run):
    assert "Did you mean `ascood`?" in run("train", *DIGITS, "--trainer.name", "ascod").error
    error = run("train", *DIGITS, "--network.backbone.name", "resnet5").error
    assert "network.backbone.name `resnet5` is not known. Did you mean `resnet50`?" in error


def test_a_rate_that_yaml_reads_as_text_is_refused(place, run):
    (place / "lr.yml").write_text("optimizer:\n  lr: 1e-2\n")
    base = "configs/datasets/digits/digits.yml configs/networks/ascood_net.yml configs/pipelines/train/train_ascood.yml"
    assert "optimizer.lr is '1e-2'" in run("train", "--config", *base.split(), "lr.yml", *QUICK).error


@pytest.fixture
def cifar(place, make_benchmark):
    make_benchmark(place / "data", "cifar10")
    return place


def test_missing_image_lists_are_named(place, run):
    error = run("train", *CIFAR).error
    assert "data/benchmark_imglist/cifar10/train_cifar10.txt" in error
    assert "build_imglist" in error


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x.png", "line 7: `x.png` has no label"),
        ("x.png 10", "line 7: class 10; expected 0 to 9"),
        ("x.png one", "is not a label"),
        ("/x.png 1", "is absolute"),
        ("gone.png 1", "gone.png is missing"),
    ],
)
def test_a_bad_line_of_an_image_list_is_named(cifar, run, line, says):
    path = cifar / "data/benchmark_imglist/cifar10/train_cifar10.txt"
    path.write_text(path.read_text() + line + "\n")
    assert says in run("train", *CIFAR).error


def test_lists_are_read_as_everywhere(cifar, run):
    path = cifar / "data/benchmark_imglist/cifar10/train_cifar10.txt"
    kept = path.read_text()
    for text, says in (
        ("x.png 1" + "0" * 30, "is not a label"),
        ("x\0.png 1", "is no path"),
        ("y" * 1000, "has no label"),
    ):
        path.write_text(f"{text}\n")
        error = run("train", *CIFAR, "--output-dir", "new").error
        assert says in error
        assert len(error) < 520
        assert not Path("new").exists()
    path.write_text(kept, encoding="utf-8-sig")
    assert read_imglist("x", path, [cifar / "data/images_classic"], 10).files[0].is_file()
    path.unlink()
    os.mkfifo(path)
    assert "is a pipe" in run("train", *CIFAR).error


@pytest.mark.parametrize("content", [b"no image", b""])
def test_nothing_is_written_before_the_images_were_read(cifar, run, content):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(content)
    run("train", *CIFAR, "--output-dir", "new")
    assert not Path("new").exists()


def test_a_second_run_leaves_the_log_of_the_first(cifar, run):
    Path("r").mkdir()
    for name in ("log.txt", "config.yml"):
        Path("r", name).write_text("of the first")
    with held(Path("r"), 0.0, RUN_LOCK):
        error = run("train", *CIFAR, "--output-dir", "r", "--merge_option", "merge").error
    assert "r is in use" in error
    assert {path.read_text() for path in Path("r").iterdir()} == {"of the first"}


def test_lists_are_written_when_all_was_looked_at(place, run, make_folder):
    make_folder(Path("set"))
    (Path("set") / "ood/near/bars/x/a b.png").write_bytes(b"")
    words = ["build_imglist", "set", "--name", "x"]
    assert "has a space" in run(*words, "--ood", "bars=set/ood/near/bars").error
    next((Path("set") / "train/a").iterdir()).write_bytes(b"no image")
    assert "no image" in run(*words).error
    assert [path.name for path in Path().iterdir()] == ["set"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "\0", "x" * 300])
def test_a_name_that_is_none_of_a_file_is_refused(place, run, make_folder, name):
    make_folder(Path("set"))
    assert "is no name for files" in run("build_imglist", "set", "--name", name).error
    assert [path.name for path in Path().iterdir()] == ["set"]


@pytest.mark.parametrize(
    "flag", ["--seed=-1", "--num_workers=-1", "--num_workers=99999999", "--num_gpus=-5", "--num_machines=0"]
)
def test_counts_of_a_config_are_bounded(place, run, flag):
    assert "expected a whole number from" in run("train", "--id-data", "digits", flag).error


def test_an_unreadable_image_is_named(cifar, run):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(b"no image")
    error = run("train", *CIFAR).error
    assert f"{path.name} is damaged or no image" in error
    assert "train_cifar10.txt" in error


def test_a_truncated_image_is_read_as_far_as_it_goes(cifar, done):
    path = next((cifar / "data/images_classic/id_train").iterdir())
    path.write_bytes(path.read_bytes()[:-60])
    done("train", *CIFAR)


def test_an_existing_folder_without_a_terminal_is_refused(place, run, monkeypatch):
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    Path("there").mkdir()
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    error = run("train", *words, "--output-dir", "there").error
    assert "no terminal to ask on" in error
    assert "--merge_option merge" in error


@pytest.mark.parametrize(("answer", "status"), [("n", 0), ("maybe", 2)])
def test_the_answer_on_a_terminal_counts(place, run, monkeypatch, answer, status):
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    Path("there").mkdir()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert run("train", *words, "--output-dir", "there").status == status
    assert list(Path("there").iterdir()) == []


def test_merge_option_pass_stops_where_results_are(place, done):
    Path("there").mkdir()
    Path("there/ood.csv").write_text("x")
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    assert "left as it is" in done("train", *words, "--merge_option", "pass", "--output-dir", "there").out
    assert [path.name for path in Path("there").iterdir()] == ["ood.csv"]


def test_missing_pretrained_weights_say_which_they_are(place, run):
    words = ["--network.backbone.pretrained", "True", "--network.backbone.checkpoint", "./w/resnet18-f37072fd.pth"]
    assert "ResNet18_Weights.IMAGENET1K_V1" in run("train", *DIGITS, *words).error


def test_weights_of_which_nothing_fits_are_refused(place):
    checkpoints.save(place / "w.pth", {"other": torch.zeros(3)})
    with pytest.raises(InputError, match="holds no weight of this network"):
        load_pretrained(make_backbone("lenet", 3), place / "w.pth")


def test_pretrained_weights_leave_a_last_layer_of_another_size_fresh(place):
    source, target = make_backbone("lenet", 7), make_backbone("lenet", 3)
    checkpoints.save(place / "w.pth", source.state_dict())
    before = target.fc.weight.clone()
    load_pretrained(target, place / "w.pth")
    assert torch.equal(target.fc.weight, before)
    assert torch.equal(target.conv1.weight, source.conv1.weight)


def test_a_loss_that_is_no_number_is_refused(place, run, make_folder):
    make_folder(place / "mine")
    error = run("train", *OWN, "--optimizer.lr", "1e30:float").error
    assert "loss became" in error
    assert "no epoch was finished" in error
    assert not list(place.rglob("*.ckpt"))


@pytest.fixture
def trained(own_run, place):
    shutil.copytree(own_run, place, dirs_exist_ok=True)
    return place / "run"


EVAL = ["--id-data", "folder:mine", "--wrapper-net", "ASCOODNet", "--device", "cpu", "--root", "run"]
OWN = ["--id-data", "folder:mine", "--network.backbone.name", "lenet", "--optimizer.num_epochs", "1", *QUICK]


def test_an_unknown_score_names_the_nearest(trained, run):
    assert "Did you mean `scale`?" in run("eval_ood", *EVAL, "--postprocessor", "scal").error


@pytest.mark.parametrize("name", ["gram", "openmax", "vos"])
def test_a_score_out_of_scope_says_so(trained, run, name):
    assert "is not" in run("eval_ood", *EVAL, "--postprocessor", name).error


def test_a_root_that_is_not_there_lists_its_neighbours(trained, run):
    error = run("eval_ood", *EVAL[:-1], "rum").error
    assert "rum is missing" in error
    assert "run" in error


def test_a_root_without_runs_is_refused(place, run):
    Path("run").mkdir()
    assert "no subfolder s*" in run("eval_ood", *EVAL).error


def test_a_run_without_weights_is_refused(trained, run):
    (trained / "s0" / "best.ckpt").unlink()
    assert "best.ckpt is missing" in run("eval_ood", *EVAL).error


def test_a_forgotten_wrapper_is_named(trained, run):
    words = [word for word in EVAL if word not in ("--wrapper-net", "ASCOODNet")]
    assert "Pass --wrapper-net ASCOODNet" in run("eval_ood", *words).error


def test_a_checkpoint_of_another_number_of_classes_is_refused(trained, run):
    state = checkpoints.load(trained / "s0" / "best.ckpt")
    state["backbone.fc.weight"] = torch.zeros(3, 64)
    checkpoints.save(trained / "s0" / "best.ckpt", state)
    assert "`backbone.fc.weight` is (3, 64), expected (2, 64)" in run("eval_ood", *EVAL).error


def test_a_checkpoint_with_code_is_not_loaded(trained, run):
    torch.save({"a": Path()}, trained / "s0" / "best.ckpt")
    assert "could run code" in run("eval_ood", *EVAL).error


def test_stored_scores_are_never_reused_after_the_weights_changed(trained, done):
    words = [*EVAL, "--postprocessor", "msp", "--save-score"]
    done("eval_ood", *words)
    path = trained / "s0" / "results" / "msp" / "scores.npz"
    first = np.load(path)["scores"]
    state = checkpoints.load(trained / "s0" / "best.ckpt")
    state["backbone.fc.weight"] = state["backbone.fc.weight"] * 0.5
    checkpoints.save(trained / "s0" / "best.ckpt", state)
    done("eval_ood", *words)
    assert not np.array_equal(first, np.load(path)["scores"])


def test_stored_scores_are_reused_when_nothing_changed(trained, done, monkeypatch):
    words = [*EVAL, "--postprocessor", "knn", "--save-csv"]
    done("eval_ood", *words)
    table = (trained / "ood" / "knn.csv").read_text()
    monkeypatch.setattr("ascood.extraction.extract", lambda *a, **k: pytest.fail("the network ran again"))
    done("eval_ood", *words)
    assert (trained / "ood" / "knn.csv").read_text() == table


def test_stored_scores_are_not_reused_with_other_settings(trained, done):
    words = [*EVAL, "--postprocessor", "knn", "--save-score", "--no-aps"]
    path = trained / "s0" / "results" / "knn" / "scores.npz"
    done("eval_ood", *words)
    first = np.load(path)["scores"]
    folder = Path("configs/postprocessors")
    folder.mkdir(parents=True)
    (folder / "knn.yml").write_text("postprocessor:\n  name: knn\n  postprocessor_args:\n    K: 1\n")
    done("eval_ood", *words)
    assert not np.array_equal(first, np.load(path)["scores"])


def test_a_damaged_cache_is_made_anew(trained, done):
    done("eval_ood", *EVAL, "--postprocessor", "ebo", "--save-csv")
    first = (trained / "ood" / "ebo.csv").read_text()
    for path in [*trained.glob("s0/scores/*.npz"), *trained.glob("s0/features/*.npz")]:
        path.write_bytes(path.read_bytes()[:100])
    done("eval_ood", *EVAL, "--postprocessor", "ebo", "--save-csv")
    assert (trained / "ood" / "ebo.csv").read_text() == first


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_changed_image_is_noticed_by_the_caches(trained, done, number):
    """Any image, not only some that stand for all: the published program would have printed the old numbers."""

    def confidences(*flags):
        done("eval_ood", *EVAL, "--postprocessor", "msp", *flags)
        with np.load(trained / "s0/scores/msp.npz") as arrays:
            return arrays["near/bars/conf"]

    first = confidences()
    path = sorted(Path("mine/ood/near/bars/x").iterdir())[number]
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    changed = confidences()
    assert np.flatnonzero(changed != first).tolist() == [number]
    assert np.array_equal(confidences("--fresh"), changed)


def test_a_set_to_drop_that_is_not_there_is_named(trained, run):
    assert "--drop `bar` is not known. Did you mean `bars`?" in run("eval_ood", *EVAL, "--drop", "bar").error


def test_imagenet_needs_weights_and_says_which(place, run):
    assert "Pass either" in run("eval_ood_imagenet").error
    error = run("eval_ood_imagenet", "--tvs-pretrained", "--device", "cpu").error
    assert "resnet50_imagenet1k_v1.pth or resnet50-0676ba61.pth in results/pretrained_weights" in error
    assert "python scripts/download/download.py --contents weights" in error
    other = run("eval_ood_imagenet", "--tvs-pretrained", "--device", "cpu", "--arch", "swin-t").error
    assert 'get_model("swin_t", weights="IMAGENET1K_V1")' in other
    assert (
        "no IMAGENET1K_V2"
        in run("eval_ood_imagenet", "--tvs-pretrained", "--arch", "vit-b-16", "--tvs-version", "2").error
    )
    words = ["--ckpt-path", "x.pth", "--arch", "regnet"]
    assert "of a resnet50" in run("eval_ood_imagenet", *words).error


@pytest.mark.parametrize("name", ["resnet50_imagenet1k_v1.pth", "resnet50-0676ba61.pth"])
def test_weights_are_found_under_the_name_of_the_download_command_and_of_torchvision(place, name):
    from ascood.imagenet import weights_file

    path = place / "results/pretrained_weights" / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert weights_file("resnet50", 1) == path.relative_to(place)
    with pytest.raises(InputError):  # these are version 1
        weights_file("resnet50", 2)


def test_a_root_that_is_not_there_says_what_belongs_there_and_where_it_comes_from(place, run):
    for root in ("absent", "."):
        error = run("eval_ood", "--root", root, "--device", "cpu").error
        assert "s0, s1, …, each with best.ckpt" in error
        assert "`ascood download --checkpoints all`" in error


def test_a_root_with_long_neighbours_is_told_whole(place, run):
    start = "results/cifar10_ascood_net_ascood_e100_lr0.1_w1.0_p0.15_otype_shuffle_nmg_300.0_30.0"
    for mark in ("random", "default", "again", "last"):
        (place / f"{start}_{mark}").mkdir(parents=True)
    error = run("eval_ood", "--root", f"{start}_agian", "--device", "cpu").error
    assert f"Did you mean `{start}_again`?" in error
    assert "published ones come from" in error
    assert " … " not in error


def test_downloading_says_what_is_missing_and_creates_nothing(place, run):
    found = run("download", "--datasets", "ascood", "--checkpoints", "ascood", "--dataset_mode", "benchmark")
    assert found.status == 1
    assert "missing: data/images_classic/cifar10 (archive cifar10.zip" in found.err
    assert "missing: results/cars_ascood_net" in found.err
    assert list(place.iterdir()) == []


def test_a_fetched_archive_is_checked_and_unpacked(place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w") as archive:
        archive.writestr("svhn/a.txt", "1")
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    Path("zips/SHA256SUMS").write_text(f"{'0' * 64}  svhn.zip\n")
    assert "differs from its checksum" in run("download", *words).error
    Path("zips/SHA256SUMS").write_text(f"{checkpoints.sha256(Path('zips/svhn.zip'))}  svhn.zip\n")
    run("download", *words)
    assert Path("data/images_classic/svhn/a.txt").read_text() == "1"


def test_an_archive_that_leads_out_of_its_folder_is_refused(place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w") as archive:
        archive.writestr("../../outside.txt", "1")
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    assert "leads out of its folder" in run("download", *words).error
    assert not list(place.rglob("outside.txt"))
    assert not Path("data/images_classic/svhn").exists()


@pytest.mark.parametrize(
    ("mark", "offset", "byte", "message"),
    [
        (b"a.txt", 30, 0xFF, "svhn.zip is damaged"),  # in the compressed bytes
        (b"PK\x01\x02", 8, 0x01, "svhn.zip is encrypted"),  # the flag of encryption in the central directory
    ],
)
def test_an_archive_that_cannot_be_read_leaves_nothing(mark, offset, byte, message, place, run):
    Path("zips").mkdir()
    with zipfile.ZipFile("zips/svhn.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("svhn/a.txt", np.random.default_rng(0).integers(0, 9, 500).tobytes())
    content = bytearray(Path("zips/svhn.zip").read_bytes())
    content[content.index(mark) + offset] ^= byte
    Path("zips/svhn.zip").write_bytes(content)
    words = ["--contents", "datasets", "--datasets", "svhn", "--dataset_mode", "dataset", "--archives", "zips"]
    assert message in run("download", *words).error
    assert list(Path("data/images_classic").iterdir()) == []


def test_a_resumed_run_with_other_settings_is_refused(trained, run, monkeypatch):
    monkeypatch.chdir(trained.parent)
    words = ["--optimizer.lr", "0.05", "--trainer.trainer_args.ood_type", "shuffle", "--resume"]
    before = {path.name: path.read_bytes() for path in (trained / "s0").iterdir() if path.is_file()}
    error = run("train", *OWN, *words, "--trainer.trainer_args.w", "2.0", "--output-dir", str(trained / "s0")).error
    assert "trainer.trainer_args.w" in error
    assert {path.name: path.read_bytes() for path in (trained / "s0").iterdir() if path.is_file()} == before


def test_a_foreign_checkpoint_is_refused_on_resume(trained, run):
    checkpoints.save(trained / "s0" / "checkpoint.pt", {"network": {}})
    words = ["--optimizer.lr", "0.05", "--trainer.trainer_args.ood_type", "shuffle", "--resume"]
    error = run("train", *OWN, *words, "--output-dir", str(trained / "s0")).error
    assert f"lacks `{list(state.PARTS)[1]}`" in error


def test_a_bench_needs_a_folder_and_one_score(place, run):
    assert "--output-dir is missing" in run("bench", "--id", "digits", "--ood", "textures").error
    assert (
        "takes one score"
        in run("bench", "--id", "digits", "--ood", "textures", "--output-dir", "o", "--postprocessor", "all").error
    )


def test_a_list_builder_refuses_names_with_spaces(place, run, make_folder):
    make_folder(place / "mine")
    image = next((place / "mine/train/a").iterdir())
    image.rename(image.with_name("with space.png"))
    assert "has a space" in run("build_imglist", "mine", "--name", "mine").error
    assert json.dumps(sorted(p.name for p in place.iterdir())) == '["mine"]'


def test_a_score_of_the_library_says_when_it_is_not_installed(trained, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_ood.detector.scale", None)
    assert "pip install pytorch-ood" in run("eval_ood", *EVAL, "--postprocessor", "scale", "--no-aps").error

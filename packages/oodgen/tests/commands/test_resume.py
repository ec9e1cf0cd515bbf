"""Runs that were killed or terminated and then resumed end with the very weights of a run that was not."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.runs import read_metrics
from oodgen import train as training

ID = "./data/train/mnist"
EPOCHS, BATCHES = 3, 40  # per epoch
VAE = ("train_vae", "--batch_size", "6", "--seed", "11")  # 240 images
CLASSIFIER = ("train_classi", "--batch_size", "12", "--seed", "12")  # 240 images and 240 outliers
STEPS = {"vae": VAE, "classifer": CLASSIFIER}


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes have it: the order of a sum depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory, make_tree):
    return make_tree(tmp_path_factory.mktemp("images") / "mnist", train=80, test=4)


@pytest.fixture
def data(images, tmp_path, monkeypatch):
    """The folder to run in; the images, and the outliers that the first test makes of them, serve all tests."""
    monkeypatch.chdir(tmp_path)
    Path(ID).parent.mkdir(parents=True)
    Path(ID).symlink_to(images)
    return tmp_path


@pytest.fixture
def prepared(data, done):
    """What each step needs before it can run."""

    def prepare(step):
        if step == "classifer" and not Path(ID, "ood").exists():
            done("train_vae", "--epochs", "1", "--seed", "1", "--save_path", "first")
            for split in ("train", "test"):
                done("gen_ood", "--dataset", split, "--model_path", "first", "--num_ood", "0.5", "--seed", "1")

    return prepare


def weights(root, step, name="model.pth"):
    return checkpoints.load(Path(root, step, name))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def stopped(start, step, epoch, sent):
    """Run a step as a process and send it a signal in the middle of an epoch; returns status and standard error."""
    name, *flags = STEPS[step]
    process = start(f"{name}.py", *flags, "--epochs", str(EPOCHS), "--save_path", "cut")
    for line in process.stdout:
        if line.startswith(f"epoch {epoch}/{EPOCHS}  batch 10/{BATCHES}"):
            process.send_signal(sent)
            break
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def assert_as_one_run(step):
    """`cut` and `whole` have the same weights and logs, each epoch once."""
    for name in ("model.pth", *(f"model_{epoch}.pth" for epoch in range(1, EPOCHS + 1))):
        assert same(weights("cut", step, name), weights("whole", step, name)), name
    for path in Path("whole", step).glob("*.log"):
        text = Path("cut", step, path.name).read_text()
        assert text == path.read_text()
        assert [line.split(" ")[0] for line in text.splitlines()] == [f"{e:03d}" for e in range(1, EPOCHS + 1)]
    cut, whole = (
        [{k: v for k, v in record.items() if k != "seconds"} for record in read_metrics(Path(root, step))]
        for root in ("cut", "whole")
    )
    assert cut == whole
    assert [record["epoch"] for record in cut] == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_that_is_resumed_equals_one_that_was_not_killed(step, prepared, start, done):
    prepared(step)
    status, _ = stopped(start, step, epoch=3, sent=signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert checkpoints.load(Path("cut", step, "checkpoint.pt"))["progress"]["epoch"] == 2
    done(*STEPS[step], "--epochs", str(EPOCHS), "--save_path", "cut", "--resume")
    done(*STEPS[step], "--epochs", str(EPOCHS), "--save_path", "whole")
    assert_as_one_run(step)


@pytest.mark.parametrize("step", STEPS)
def test_a_terminated_run_saves_the_batch_and_goes_on_from_it(step, prepared, start, done):
    prepared(step)
    status, err = stopped(start, step, epoch=2, sent=signal.SIGTERM)
    assert status == 143
    assert err.splitlines() == [f"{STEPS[step][0]}.py: terminated; what was finished is saved, --resume continues."]
    progress = checkpoints.load(Path("cut", step, "checkpoint.pt"))["progress"]
    assert progress["epoch"] == 1
    assert 10 <= progress["batch"] < BATCHES
    done(*STEPS[step], "--epochs", str(EPOCHS), "--save_path", "cut", "--resume")
    done(*STEPS[step], "--epochs", str(EPOCHS), "--save_path", "whole")
    assert_as_one_run(step)


@pytest.mark.parametrize("at", [1, 3])
def test_the_papers_batches_go_on_bit_equal(at, trained, run, done, monkeypatch):
    """36 images in batches of 18, two steps an epoch; the pool of type 1 in the second epoch is that of the first."""
    flags = ("train_classi", "--mode", "paper", "--batch_size", "18", "--epochs", "2", "--seed", "5")
    done(*flags, "--output-dir", "whole")
    loss, steps = training.classifier_loss, []

    def terminated(*args, **kwargs):
        if torch.is_grad_enabled():
            steps.append(1)
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGTERM)
        return loss(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(training, "classifier_loss", terminated)
        assert run(*flags, "--output-dir", "cut").status == 143
    assert len(steps) == at
    done(*flags, "--output-dir", "cut", "--resume")
    assert same(weights("cut", "classifer"), weights("whole", "classifer"))
    log = "classifer/train_loss(accuracy).log"
    assert Path("cut", log).read_text() == Path("whole", log).read_text()


def test_more_epochs_can_be_asked_for_on_resuming(place, done):
    done("train_vae", "--epochs", "2", "--save_path", "more", "--seed", "3", "--batch_size", "12")
    done("train_vae", "--epochs", "3", "--save_path", "more", "--seed", "3", "--batch_size", "12", "--resume")
    done("train_vae", "--epochs", "3", "--save_path", "whole", "--seed", "3", "--batch_size", "12")
    assert same(weights("more", "vae"), weights("whole", "vae"))
    assert json.loads(Path("more/vae/configuration.json").read_text())["epochs"] == 3


def test_a_run_without_a_seed_is_resumed_with_the_seed_it_drew(place, done):
    done("train_vae", "--epochs", "1", "--save_path", "more")
    drawn = json.loads(Path("more/vae/configuration.json").read_text())["seed_used"]
    done("train_vae", "--epochs", "2", "--save_path", "more", "--resume")
    done("train_vae", "--epochs", "2", "--save_path", "whole", "--seed", str(drawn))
    assert same(weights("more", "vae"), weights("whole", "vae"))


def test_a_finished_run_that_is_resumed_stays_as_it_is(trained, done):
    before = weights("result", "vae")
    done("train_vae", "--epochs", "2", "--batch_size", "12", "--resume")
    assert same(weights("result", "vae"), before)
    assert [record["epoch"] for record in read_metrics(Path("result/vae"))] == [1, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lr", "0.01", "--batch_size", "12"), "lr = 0.001, now it is 0.01"),
        (("--batch_size", "18"), "batch_size = 12, now it is 18"),
        (("--seed", "9", "--batch_size", "12"), "seed = 1, now it is 9"),
        (("--precision", "bf16", "--batch_size", "12"), "precision = 'fp32', now it is 'bf16'"),
    ],
)
def test_resuming_with_another_setting_is_refused_and_leaves_everything_as_it_was(trained, run, flags, message):
    before = {path: path.read_bytes() for path in Path("result/vae").iterdir()}
    assert message in run("train_vae", "--epochs", "3", "--resume", *flags).error
    assert {path: path.read_bytes() for path in Path("result/vae").iterdir()} == before


def test_resuming_on_other_outliers_is_refused_and_leaves_everything_as_it_was(trained, run, done):
    done("gen_ood", "--dataset", "train", "--seed", "77")
    before = {path: path.read_bytes() for path in Path("result/classifer").iterdir()}
    found = run("train_classi", "--epochs", "3", "--batch_size", "24", "--resume")
    assert "trained on other images or outliers than are there now" in found.error
    assert {path: path.read_bytes() for path in Path("result/classifer").iterdir()} == before

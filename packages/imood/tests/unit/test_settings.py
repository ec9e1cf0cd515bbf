"""Names of run folders, learning rates, and the words of the flags."""

from pathlib import Path

import pytest
from imood import cli, metrics, modes
from imood.losses import METRICS
from imood.settings import Settings, learning_rate_factor, run_folder
from imood.train import scaled_rate

DOCUMENTED_TRAIN = [
    "--gpu 0 --ds cifar10 --e 180 --drp data --srp runs --imbalance_ratio .01 --logit_adjust 1.0 "
    "--ood_metric ada_bin_disc --Lambda 0.5 --Lambda2 0.05 --aux_ood_loss pascl",
    "--gpu 0,1 --ds imagenet --md ResNet50 -e 100 --opt sgd --decay multisteps --lr 0.1 --wd 5e-5 -b 192 --tb 100 "
    "--ddp --dist_url tcp://localhost:23457 --drp data --srp srp --imbalance_ratio .01 --logit_adjust 1.0 "
    "--ood_metric ada_bin_disc --Lambda 0.5 --Lambda2 0.05 --aux_ood_loss pascl",
]
DOCUMENTED_TEST = [
    "--gpu 0 --ds cifar10 --model ResNet18 --drp data --ood_metric bin_disc --ckpt_path weights/cifar10/ada_bin_disc",
    "--gpu 0 --ds imagenet --model ResNet50 --tb 200 --drp data --ood_metric bin_disc "
    "--ckpt_path weights/imagenet/ada_bin_disc",
    "--gpu 0 --ds cifar10 --model ResNet18 --drp data --ood_metric ada_energy --logit_adjust 1.0 "
    "--ckpt_path weights/baseline/cifar10/energy",
    "--gpu 0 --ds imagenet --model ResNet50 --tb 200 --drp data --ood_metric ada_energy --logit_adjust 1.0 "
    "--ckpt_path weights/baseline/imagenet/energy",
]


def settings(**fields):
    return Settings(**{"dataset": "cifar10", "model": "ResNet18", "counts": (5, 3)} | fields)


def test_the_documented_run_has_the_published_folder():
    documented = settings(epochs=180, ood_metric="ada_bin_disc", aux_ood_loss="pascl", Lambda2=0.05, logit_adjust=1.0)
    assert run_folder(Path("runs"), documented, "cifar10") == Path(
        "runs/cifar10-0.01-OOD30000/ResNet18/"
        "e180-b256-adam-lr0.001-wd0.0005-cos_LA1.0-ada_bin_disc-pascl-Lambda0.5-Lambda20.05-T0.07-sign-k0.4"
    )


def test_the_imagenet_run_has_the_published_folder():
    documented = settings(
        dataset="imagenet", model="ResNet50", epochs=100, batch_size=192, opt="sgd", decay="multisteps",
        lr=scaled_rate("imagenet", 0.1, 192), wd=5e-5, ood_metric="ada_bin_disc", aux_ood_loss="pascl", Lambda2=0.05,
    )  # fmt: skip
    assert run_folder(Path("srp"), documented, "imagenet1000", "20261120160102") == Path(
        "srp/imagenet1000-lt/ResNet50/e100-b192-sgd-m0.9-lr0.07500000000000001-wd5e-05-multisteps60-80_"
        "LA1.0-ada_bin_disc-pascl-Lambda0.5-Lambda20.05-T0.07-sign-k0.4_20261120160102"
    )


def test_a_balanced_run_has_no_prefix_and_tau_0_is_none():
    assert "_oe-none-" in run_folder(Path(), settings(imbalance_ratio=1.0), "cifar10").name
    assert "_none-oe-none-" in run_folder(Path(), settings(logit_adjust=0.0), "cifar10").name


def test_the_cosine_ends_at_0_and_steps_divide_by_10():
    cosine = [learning_rate_factor(settings(epochs=10), epoch) for epoch in range(11)]
    assert cosine[0] == 1
    assert cosine[-1] == pytest.approx(0)
    steps = [learning_rate_factor(settings(decay="multisteps"), epoch) for epoch in (0, 59, 60, 79, 80)]
    assert steps == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("words", DOCUMENTED_TRAIN)
def test_documented_training_commands_parse_unchanged(words):
    options = cli.train_parser().parse_args(words.split())
    assert (options.epochs, options.ood_metric, options.Lambda2) in {
        (180, "ada_bin_disc", 0.05),
        (100, "ada_bin_disc", 0.05),
    }


@pytest.mark.parametrize("words", DOCUMENTED_TEST)
def test_documented_test_commands_parse_unchanged(words):
    options = cli.test_parser().parse_args(words.split())
    assert options.logit_adjust == [1.0]
    assert options.ckpt_path.startswith("weights/")


def test_defaults_are_the_documented_ones():
    options = cli.train_parser().parse_args([])
    found = (options.epochs, options.lr, options.wd, options.momentum, options.decay_epochs, options.opt, options.decay)
    assert found == (200, 1e-3, 5e-4, 0.9, [60, 80], "adam", "cos")
    losses = (options.ood_metric, options.aux_ood_loss, options.Lambda, options.Lambda2, options.T, options.k)
    assert losses == ("oe", "none", 0.5, 0.1, 0.07, 0.4)
    assert options.logit_adjust == 1.0
    assert options.num_ood_samples == 30000


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--e", "3"], "epochs", 3),
        (["-e", "3"], "epochs", 3),
        (["--de", "5", "9"], "decay_epochs", [5, 9]),
        (["--md", "ResNet34"], "model", "ResNet34"),
        (["--tb", "7"], "test_batch_size", 7),
        (["--ood_ds", "CIFAR"], "ood_aux_dataset", "CIFAR"),
        (["--rho", "0.1"], "imbalance_ratio", 0.1),
        (["--tau", "0.5"], "logit_adjust", 0.5),
        (["--cpus", "2"], "num_workers", 2),
        (["--ddpbed", "gloo"], "ddp_backend", "gloo"),
        (["--data-dir", "x"], "data_root_path", "x"),
        (["--num_ood_samples", "300"], "num_ood_samples", 300),
        (["--num_ood_samples", "3e2"], "num_ood_samples", 300),
        (["--resume"], "resume", ""),
        (["--resume", "x"], "resume", "x"),
        (["--no-early-stop", "--w_beta", "3", "--t_beta", "1"], "w_beta", 3.0),
    ],
)
def test_aliases_and_flags_without_effect_are_read(flags, name, value):
    assert getattr(cli.train_parser().parse_args(flags), name) == value


def test_the_choices_of_the_parser_are_those_of_the_losses():
    assert set(modes.TRAIN_METRICS) - {"ada_pascl"} == set(METRICS)


@pytest.mark.parametrize(
    ("trained", "plain"),
    [
        ("ada_oe", "msp"),
        ("oe", "msp"),
        ("ada_energy", "energy"),
        ("bkg_c", "bkg_c"),
        ("mc_disc", "mc_disc"),
        (None, "msp"),
    ],
)
def test_the_plain_test_follows_the_training(trained, plain):
    assert metrics.plain_test_of(trained) == plain

import argparse

import pytest
from ood_shared.errors import InputError
from oodgen import defaults

TABLES = {
    "train_vae": defaults.TRAIN_VAE,
    "gen_ood": defaults.GEN_OOD,
    "train_classi": defaults.TRAIN_CLASSI,
    "test": defaults.TEST,
}


def settled(step, mode, in_data="./data/train/mnist", classes="all", **given):
    table = TABLES[step]
    options = argparse.Namespace(**{**dict.fromkeys(table), "mode": mode, "classes": classes, **given})
    return vars(defaults.resolve_defaults(options, table, in_data))


@pytest.mark.parametrize(
    ("step", "flag", "default", "compat", "paper"),
    [
        ("train_vae", "epochs", 100, 100, 100),
        ("train_vae", "batch_size", 128, 128, 128),
        ("train_vae", "lr", 0.001, 0.001, 0.001),
        ("train_vae", "opt", "rmsprop", "rmsprop", "rmsprop"),
        ("train_vae", "momentum", 0.0, 0.0, 0.0),
        ("train_vae", "loss", "elbo", "mse", "elbo"),
        ("train_vae", "latent_dim", 8, 8, 8),
        ("train_vae", "normalize", "auto", "auto", "none"),
        ("train_vae", "save_every", 1, 1, 1),
        ("train_vae", "patience", 0, 0, 5),
        ("gen_ood", "batch_size", 1000, 1000, 1000),
        ("gen_ood", "latent", "mu", "sample", "mu"),
        ("gen_ood", "null_space", "jacobian", "none", "jacobian"),
        ("gen_ood", "direction", "normal", "uniform", "rref"),
        ("gen_ood", "sign", "binary", "uniform", "binary"),
        ("gen_ood", "eps_min", 0.1, 0.1, 0.1),
        ("gen_ood", "eps_max", 28.0, 28.0, 28.0),
        ("gen_ood", "base", "data", "recon", "data"),
        ("gen_ood", "class_stats", "split", "chunk", "train"),
        ("gen_ood", "maha_factor", "rank", "seed", "rank"),
        ("gen_ood", "num_ood", None, None, None),
        ("train_classi", "epochs", 200, 200, 200),
        ("train_classi", "batch_size", 256, 256, 128),
        ("train_classi", "lr", 0.05, 0.05, 0.05),
        ("train_classi", "opt", "ada", "ada", "ada"),
        ("train_classi", "weight_decay", 0.0001, 0.0001, 0.0),
        ("train_classi", "normalize", "auto", "auto", "none"),
        ("train_classi", "double_softmax", False, True, False),
        ("train_classi", "ood_weight", "counts", "fixed", 0.1),
        ("train_classi", "id_recon", False, False, False),
        ("test", "score", "one_minus_ood", "max_all", "one_minus_ood"),
        ("test", "average", "pooled", "batches", "pooled"),
        ("test", "all_epochs", False, True, False),
    ],
)
def test_a_flag_that_is_not_given_has_the_value_of_its_mode(step, flag, default, compat, paper):
    found = tuple(settled(step, mode)[flag] for mode in ("default", "compat", "paper"))
    assert found == (default, compat, paper)


@pytest.mark.parametrize(
    ("in_data", "classes", "latent_dim", "lr", "weight", "eps_min", "eps_max", "refresh", "epochs"),
    [
        ("./mnist", "all", 8, 0.05, 0.1, 0.1, 28.0, 5, 200),
        ("./fmnist", "all", 10, 0.01, 0.3, 0.1, 28.0, 10, 200),
        ("./mnist", "0-4", 8, 0.02, 0.1, 0.05, 1.0, 5, 150),
        ("./fmnist", "0-4", 10, 0.01, 1.0, 0.1, 28.0, 5, 200),
    ],
)
def test_the_paper_has_values_of_its_own_for_each_experiment(
    in_data, classes, latent_dim, lr, weight, eps_min, eps_max, refresh, epochs
):
    vae = settled("train_vae", "paper", in_data, classes)
    outliers = settled("gen_ood", "paper", in_data, classes)
    classifier = settled("train_classi", "paper", in_data, classes)
    assert vae["latent_dim"] == latent_dim
    assert (classifier["lr"], classifier["ood_weight"], classifier["epochs"]) == (lr, weight, epochs)
    assert (outliers["eps_min"], outliers["eps_max"]) == (eps_min, eps_max)
    assert defaults.experiment(in_data, classes).refresh == refresh


@pytest.mark.parametrize("folder", ["FMNIST", "data/fashion-mnist/", "x/FashionMNIST"])
def test_fashion_mnist_is_known_under_its_spellings(folder):
    assert defaults.experiment(folder, "all") == defaults.EXPERIMENTS["fmnist", "all"]


def test_other_folders_take_the_values_of_mnist():
    assert defaults.experiment("./letters", "0-4") == defaults.EXPERIMENTS["mnist", "0-4"]


@pytest.mark.parametrize(
    ("folder", "told"), [("./mnist", ""), ("x/Fashion-MNIST", ""), ("./scans", "./scans is called neither")]
)
def test_a_folder_that_the_authors_had_no_values_for_is_told_which_are_taken(capsys, folder, told):
    settled("train_classi", "paper", folder)
    found = capsys.readouterr().out
    assert found.startswith(f"note: {told}" if told else "")
    assert ("of MNIST, --epochs 200, --lr 0.05, --ood_weight 0.1" in found) == bool(told)


def test_all_ten_classes_as_a_range_are_the_experiment_of_all():
    assert defaults.experiment("./mnist", "0-9") == defaults.EXPERIMENTS["mnist", "all"]


def test_a_given_flag_overrides_its_mode():
    assert settled("train_classi", "compat", double_softmax=False)["double_softmax"] is False


def test_settling_leaves_the_given_options_alone():
    options = argparse.Namespace(**dict.fromkeys(defaults.TEST), mode="default", classes="all")
    defaults.resolve_defaults(options, defaults.TEST, "x")
    assert options.score is None


@pytest.mark.parametrize(
    ("opt", "mode", "decay"),
    [("rmsprop", "default", 0.0), ("ada", "default", 0.001), ("ada", "compat", 0.001), ("ada", "paper", 0.0)],
)
def test_the_weight_decay_of_the_vae_goes_by_its_optimizer(opt, mode, decay):
    assert defaults.vae_weight_decay(opt, mode) == decay


@pytest.mark.parametrize(
    ("text", "folder", "expected"),
    [
        ("auto", "./data/train/mnist", (0.1307, 0.3081)),
        ("auto", "./data/train/MNIST/", (0.1307, 0.3081)),
        ("auto", "./data/train/fmnist", (0.5, 0.5)),
        ("auto", "./mnist/images", (0.5, 0.5)),
        ("none", "./mnist", (0.0, 1.0)),
        ("mnist", "./letters", (0.1307, 0.3081)),
        ("half", "./mnist", (0.5, 0.5)),
        ("0.2,0.4", "./mnist", (0.2, 0.4)),
    ],
)
def test_normalisation_means_what_the_table_says(text, folder, expected):
    assert defaults.normalisation(text, folder) == expected


@pytest.mark.parametrize(
    "text", ["1", "a,b", "1,2,3", "", "Auto", "0.5,0", "0.5,-1", "nan,1", "0,nan", "inf,1", "0,inf"]
)
def test_other_normalisations_are_refused(text):
    with pytest.raises(InputError, match="--normalize"):
        defaults.normalisation(text, "./mnist")


@pytest.mark.parametrize(("text", "expected"), [("all", range(10)), ("0-4", range(5)), ("3-9", range(3, 10))])
def test_a_class_range_includes_both_ends(text, expected):
    assert defaults.class_range(text, 10) == expected


@pytest.mark.parametrize("text", ["9-3", "4-4", "0-10", "3", "-3", "a-b", "0-4-5", "", "0 - 4"])
def test_other_class_ranges_are_refused_with_the_highest_index(text):
    with pytest.raises(InputError, match=r"0 to 9"):
        defaults.class_range(text, 10)

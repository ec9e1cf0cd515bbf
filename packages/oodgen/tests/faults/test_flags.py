"""Flags that cannot be meant."""

import pytest

VALUES = ("train_vae", "train_classi")


@pytest.fixture(autouse=True)
def _place(place):
    """Good data; it is the flag that is wrong."""


@pytest.mark.parametrize("step", ["train_vae", "train_classi", "gen_ood", "test", "prepare", "bench"])
def test_an_unknown_flag_comes_with_the_nearest_one(refused, step):
    line = refused(step, *("--debig",))
    assert "--debig" in line or "required" in line
    if step in {"train_vae", "train_classi", "gen_ood", "test"}:
        assert "unknown argument `--debig`. Did you mean `--debug`? Known: --help, --" in line


@pytest.mark.parametrize("words", [("stray",), ("--epochs", "1", "2"), ("--ep", "1"), ("--in_data=x", "y")])
def test_a_word_too_many_or_an_abbreviation_is_refused(refused, words):
    assert "unknown argument" in refused("train_vae", *words)


@pytest.mark.parametrize(
    ("step", "flag", "word", "meant"),
    [
        ("train_vae", "--opt", "rmspop", "rmsprop"),
        ("train_classi", "--opt", "sdg", "sgd"),
        ("train_vae", "--loss", "elbow", "elbo"),
        ("train_vae", "--mode", "papr", "paper"),
        ("gen_ood", "--dataset", "tran", "train"),
        ("gen_ood", "--null_space", "jacobien", "jacobian"),
        ("gen_ood", "--maha_factor", "cholesk", "cholesky"),
        ("test", "--score", "max_im", "max_in"),
        ("test", "--average", "poled", "pooled"),
        ("train_vae", "--precision", "bf61", "bf16"),
        ("train_vae", "--log-to", "tensorbord", "tensorboard"),
    ],
)
def test_a_misspelt_choice_comes_with_the_nearest_one(refused, step, flag, word, meant):
    assert f"{flag} `{word}` is not known. Did you mean `{meant}`? Known: " in refused(step, flag, word)


@pytest.mark.parametrize(("step", "word"), [("train_vae", "sgd"), ("train_classi", "rmsprop")])
def test_the_optimizer_of_the_other_step_is_refused(refused, step, word):
    assert f"--opt `{word}` is not known" in refused(step, "--opt", word)


@pytest.mark.parametrize("step", VALUES)
@pytest.mark.parametrize("flag", ["--epochs", "--batch_size", "--save_every"])
@pytest.mark.parametrize("word", ["0", "-1", "1.5", "x", "", "1e3"])
def test_a_count_is_a_whole_number_from_1_on(refused, step, flag, word):
    assert f"{flag}: `{word}` is not a whole number from 1 on" in refused(step, f"{flag}={word}")


@pytest.mark.parametrize("step", VALUES)
@pytest.mark.parametrize("word", ["0", "-0.1", "nan", "inf", "1e999"])
def test_a_learning_rate_is_above_0_and_finite(refused, step, word):
    assert f"--lr: `{word}` is not a number above 0" in refused(step, f"--lr={word}")


@pytest.mark.parametrize("flag", ["--lr", "--momentum", "--weight_decay"])
def test_a_word_is_no_number(refused, flag):
    assert f"{flag}: `fast` is not a number" in refused("train_vae", flag, "fast")


def test_a_negative_decay_is_refused(refused):
    assert "--weight_decay: `-1` is not a number from 0 on" in refused("train_classi", "--weight_decay", "-1")


@pytest.mark.parametrize("step", ["train_vae", "train_classi"])
@pytest.mark.parametrize("word", ["-1", "1", "2"])
def test_a_momentum_is_below_1(refused, step, word):
    assert f"--momentum: `{word}` is not a number from 0 on and below 1" in refused(step, f"--momentum={word}")


@pytest.mark.parametrize("words", [("--compat", "--mode", "paper"), ("--mode", "paper", "--compat")])
def test_two_modes_are_refused(refused, words):
    assert "not allowed with argument" in refused("train_vae", *words)


@pytest.mark.parametrize("step", ["train_vae", "gen_ood", "train_classi", "test"])
@pytest.mark.parametrize("word", ["abc", "-5", "1.5", str(2**63)])
def test_a_seed_is_a_whole_number_or_a_truth_value(refused, step, word):
    line = refused(step, f"--seed={word}")
    assert f"`{word}` is not a seed: pass a whole number from 0 to 2**63 - 1, True or False" in line


@pytest.mark.parametrize("word", ["1", "mnst", "0.5,0", "nan,1", "1,2,3"])
def test_a_normalisation_is_a_known_word_or_two_numbers(refused, word):
    assert f"--normalize `{word}`" in refused("train_vae", "--normalize", word)


@pytest.mark.parametrize("word", ["9-3", "1-1", "0-3", "a-b", "2"])
def test_a_class_range_fits_the_classes_of_the_data(refused, word):
    line = refused("train_vae", "--classes", word)
    assert f"--classes `{word}` does not fit: pass all or A-B, two indices, the smaller first, from 0 to 2" in line


@pytest.mark.parametrize("word", ["0", "-3", "nan", "2.5"])
def test_a_number_of_outliers_is_a_count_or_a_fraction(refused, word):
    assert f"--num_ood: `{word}` is n" in refused("gen_ood", f"--num_ood={word}")


def test_a_weight_of_the_outlier_class_is_a_known_word_or_a_number(refused):
    assert "--ood_weight: `count` is not a number" in refused("train_classi", "--ood_weight", "count")


def test_a_truth_value_is_one(refused):
    assert "`perhaps` is neither true nor false" in refused("test", "--all_epochs", "perhaps")


@pytest.mark.parametrize("step", ["train_vae", "gen_ood", "train_classi", "test"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--device", "gpu"), "--device `gpu` is not a device. Pass auto, cpu, cuda, cuda:N or mps."),
        (("--gpu_id", "first"), "GPU `first` is not a number. Pass e.g. 0, or -1 for the CPU."),
    ],
)
def test_a_device_that_is_none_is_refused(refused, step, flags, message):
    assert message in refused(step, *flags)


@pytest.mark.parametrize("step", ["train_vae", "gen_ood", "train_classi", "test"])
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_missing_is_not_replaced_by_the_cpu_in_silence(refused, step, device):
    line = refused(step, "--device", device)
    assert f"--device {device}: this machine has no CUDA device. Pass --device cpu." in line


def test_a_gpu_number_beyond_the_last_is_refused(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert "this machine has 2 CUDA device(s), numbered from 0." in refused("train_vae", "--device", "cuda:2")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("train_vae.py", ("--epochs", "0")),
        ("train_classi.py", ("--in_data", "nowhere")),
    ],
)
def test_a_script_ends_with_status_2_and_one_line(script, tmp_path, name, flags):
    assert script(name, *flags, cwd=tmp_path).error.startswith(f"{name}: error: ")

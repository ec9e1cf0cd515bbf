"""Checkpoints: what loads, what is left out with a word, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from imood import checkpoints as weights
from imood.networks import build
from ood_shared import checkpoints
from ood_shared.errors import InputError, MissingFileError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("ResNet18", 4, 5, width=2)


def fresh():
    torch.manual_seed(1)
    return build("ResNet18", 4, 5, width=2)


def equal(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("form", ["bare", "model", "module", "model and module"])
def test_weights_load_bare_under_model_and_with_the_prefix_of_a_wrapper(network, tmp_path, form):
    state = network.state_dict()
    if "module" in form:
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save({"model": state, "epoch": 3} if "model" in form.split(" ")[0:1] else state, tmp_path / "latest.pth")
    loaded = fresh()
    assert weights.load_into(loaded, checkpoints.read_weights(tmp_path / "latest.pth"), "x", 4) == []
    assert equal(network.state_dict(), loaded.state_dict())


def test_numpy_numbers_in_the_histories_become_plain_ones(network, tmp_path):
    path = tmp_path / "latest.pth"
    torch.save({"model": network.state_dict(), "f1s": [np.float64(0.5), np.float32(0.25)], "epoch": np.int64(3)}, path)
    found = checkpoints.load_value(path)
    assert found["f1s"] == [0.5, 0.25]
    assert type(found["f1s"][0]) is float
    assert type(found["epoch"]) is int


def test_numpy_numbers_pickled_by_numpy_1_load_too(network, tmp_path):
    """They name numpy.core.multiarray, which NumPy 2 has renamed."""
    path = tmp_path / "latest.pth"
    torch.save({"model": network.state_dict(), "f1s": [np.float64(0.5)]}, path, _use_new_zipfile_serialization=True)
    import zipfile

    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, content)
    assert checkpoints.load_value(old)["f1s"] == [0.5]


def test_heads_of_pascl_checkpoints_that_do_not_fit_are_left_out_with_a_word(network, tmp_path):
    """There, aux_linear goes from the features to the classes."""
    state = network.state_dict()
    state["aux_linear.weight"], state["aux_linear.bias"] = torch.zeros(4, 16), torch.zeros(4)
    loaded = fresh()
    notes = weights.load_into(loaded, state, "pascl.pth", 4)
    assert len(notes) == 2
    assert all("aux_linear" in note and "left out" in note for note in notes)
    assert torch.equal(loaded.linear.weight, network.linear.weight)


def test_missing_heads_and_unknown_keys_are_named(network):
    state = {key: value for key, value in network.state_dict().items() if "lambda" not in key}
    state["queue"] = torch.zeros(3)
    notes = weights.load_into(fresh(), state, "x.pth", 4)
    assert any("lambda_linear.weight" in note for note in notes)
    assert any("queue" in note for note in notes)


def test_the_weights_of_classes_are_taken_when_they_are_there(network):
    state = network.state_dict() | {"cl_loss_weights": torch.ones(4)}
    loaded = fresh()
    assert weights.load_into(loaded, state, "x.pth", 4) == []
    assert "cl_loss_weights" in loaded.state_dict()


def test_another_classifier_is_refused_with_the_metrics_that_fit(network):
    state = build("ResNet18", 4, 4, width=2).state_dict()
    with pytest.raises(InputError, match=r"4 outputs, this run needs 5.*msp, energy"):
        weights.load_into(network, state, "x.pth", 4)


def test_another_trunk_is_refused(network):
    with pytest.raises(InputError, match=r"conv1\.weight"):
        weights.load_into(network, build("ResNet18", 4, 5, width=3).state_dict(), "x.pth", 4)
    small = {key: value for key, value in network.state_dict().items() if "layer4" not in key}
    with pytest.raises(InputError, match="layer4"):
        weights.load_into(network, small, "x.pth", 4)


def test_the_form_of_a_network_is_read_from_its_weights(network):
    assert weights.form_of(network.state_dict(), "x") == (5, 2, False)
    with torch.device("meta"):
        assert weights.form_of(build("ResNet50", 4, 6).state_dict(), "x") == (6, 64, True)
    with pytest.raises(InputError, match="no classifier"):
        weights.form_of({"a": torch.zeros(1)}, "x")


class Hostile:
    def __reduce__(self):
        return (print, ("this must not be printed",))


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path, capsys):
    path = tmp_path / "latest.pth"
    torch.save({"model": {}, "x": Hostile()}, path)
    with pytest.raises(InputError, match="could run code"):
        checkpoints.load_value(path)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError):
        checkpoints.load_value(path)
    assert capsys.readouterr().out == ""


def test_checkpoints_that_are_missing_or_cut_short_are_named(network, tmp_path):
    path = tmp_path / "latest.pth"
    with pytest.raises(MissingFileError, match=r"latest\.pth is missing"):
        checkpoints.load_value(path)
    checkpoints.save(path, {"model": network.state_dict()})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cut short"):
        checkpoints.load_value(path)
    torch.save({"a": [1, 2]}, path)
    with pytest.raises(InputError, match="no weights"):
        checkpoints.read_weights(path)


def test_a_feature_file_that_is_no_tensor_is_refused(tmp_path):
    assert weights.read_features(tmp_path) is None
    torch.save({"a": 1}, tmp_path / "id_feats.pth")
    with pytest.raises(InputError, match="one tensor"):
        weights.read_features(tmp_path)


def test_weights_of_no_width_are_refused(network):
    state = {name: value[:0] if value.is_floating_point() else value for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match="of no width"):
        weights.form_of(state, "x")

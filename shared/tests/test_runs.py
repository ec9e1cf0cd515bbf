import json
import os
import sys

import pytest
import torch
from ood_shared import runs
from ood_shared.errors import InputError


def test_a_run_folder_holds_settings_versions_and_metrics(tmp_path):
    run = runs.Run(tmp_path, {"lr": 0.1})
    run.log({"epoch": 1, "loss": 0.5})
    run.close()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"] == {"lr": 0.1}
    assert config["versions"]["torch"]
    assert runs.read_metrics(tmp_path) == [{"epoch": 1, "loss": 0.5}]


def test_a_resumed_run_drops_what_lies_after_its_checkpoint(tmp_path):
    run = runs.Run(tmp_path, {})
    for epoch in (1, 2, 3):
        run.log({"epoch": epoch})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')  # a kill in the middle of a line
    runs.Run(tmp_path, {}, last_step=2).log({"epoch": 3, "again": True})
    assert runs.read_metrics(tmp_path) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "again": True}]


def test_a_new_run_starts_its_metrics_anew(tmp_path):
    runs.Run(tmp_path, {}).log({"epoch": 1})
    runs.Run(tmp_path, {})
    assert runs.read_metrics(tmp_path) == []


def test_resuming_with_another_setting_is_refused(tmp_path):
    runs.Run(tmp_path, {"lr": 0.1, "epochs": 3})
    with pytest.raises(InputError, match=r"lr = 0\.1, now it is 0\.2"):
        runs.refuse_other_settings(tmp_path, {"lr": 0.2, "epochs": 5}, free=["epochs"])


def test_of_several_differing_settings_the_first_is_named(tmp_path):
    runs.Run(tmp_path, {"lr": 0.1, "opt": "ada", "seed": 1})
    with pytest.raises(InputError, match="with lr ="):
        runs.refuse_other_settings(tmp_path, {"lr": 0.2, "opt": "sgd", "seed": 2}, free=iter(["epochs"]))


def test_of_a_differing_dictionary_the_entry_is_named(tmp_path):
    runs.Run(tmp_path, {"loss": {"kind": "a", "inner": {"t": 0.5, "s": 1}}})
    with pytest.raises(InputError, match=r"with loss\.inner\.t = 0\.5, now it is 0\.7"):
        runs.refuse_other_settings(tmp_path, {"loss": {"kind": "a", "inner": {"t": 0.7, "s": 1}}}, free=[])
    with pytest.raises(InputError, match=r"with loss\.more = None, now it is 1"):
        runs.refuse_other_settings(tmp_path, {"loss": {"kind": "a", "inner": {"t": 0.5, "s": 1}, "more": 1}}, free=[])


def test_resuming_with_more_epochs_is_allowed(tmp_path):
    runs.Run(tmp_path, {"lr": 0.1, "epochs": 3})
    runs.refuse_other_settings(tmp_path, {"lr": 0.1, "epochs": 5}, free=["epochs"])


@pytest.mark.parametrize("text", ["[]", '{"settings": 3}'])
def test_settings_of_another_form_are_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json does not hold the settings"):
        runs.read_settings(tmp_path)


def test_only_the_last_line_of_metrics_may_be_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for cut in ('{"epoch": 1}\n{"epo', '{"epoch": 1}\n{"epo\n', '{"epoch": 1}\n'):
        path.write_text(cut)
        assert runs.read_metrics(tmp_path) == [{"epoch": 1}]
    for line in ("[]", '{"epo', '{"epoch": "one"}', '{"epoch": null}', "9" * 5000, "[" * 9000):
        path.write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 2}}\n')
        with pytest.raises(InputError, match=r"metrics\.jsonl, line 2 is no"):
            runs.Run(tmp_path, {}, last_step=2)
        assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="not text in UTF-8"):
        runs.read_metrics(tmp_path)


def test_tensorboard_gets_the_numbers_too(tmp_path):
    run = runs.Run(tmp_path, {}, log_to="tensorboard")
    run.log({"epoch": 1, "loss": 0.5})
    run.close()
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_progress_is_quiet_when_standard_error_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert list(runs.progress(range(3), "x")) == [0, 1, 2]
    assert not capsys.readouterr().err


def test_progress_is_quiet_on_other_ranks(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert runs.progress((items := [1]), "x") is items


def test_hardware_names_processor_and_device():
    found = runs.hardware(torch.device("cpu"))
    assert found["device"] == "cpu"
    assert found["processor"]
    assert found["cores"] >= 1


def test_damaged_records_are_refused_before_a_run_goes_on(tmp_path):
    runs.Run(tmp_path, {"a": 1}).close()
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match="line 1 is no record of an epoch"):
        runs.refuse_other_settings(tmp_path, {"a": 1}, ())


def test_settings_that_are_no_regular_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"config\.json is a pipe"):
        runs.read_settings(tmp_path)

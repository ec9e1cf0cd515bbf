"""Which methods `ood-bench` runs: what is installed, by name, in the order asked for."""

import pytest
from ood_bench import methods
from ood_shared.errors import InputError

from .fakes import bench, calls, install


def test_a_package_with_an_entry_point_is_found(site):
    install(site, "fake_a")
    assert methods.installed()["fake_a"] == "fake_a.bench"


def test_a_mistyped_method_is_answered_with_the_nearest(site, capsys):
    install(site, "fake_a")
    assert bench("--methods", "fakea") == 2
    assert "--methods `fakea` is not known. Did you mean `fake_a`?" in capsys.readouterr().err


def test_without_any_method_one_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods.metadata, "entry_points", lambda **_: ())
    assert bench() == 2
    assert "No method is installed" in capsys.readouterr().err


def test_all_installed_methods_run_when_none_is_named(site, monkeypatch):
    both = [install(site, name) for name in ("fake_b", "fake_a")]
    monkeypatch.setattr(methods, "installed", lambda: {"fake_b": "fake_b.bench", "fake_a": "fake_a.bench"})
    monkeypatch.setattr(methods, "_has_library", lambda: False)  # the baselines would train
    monkeypatch.setattr(methods, "OURS", ())  # and so would the fused detector
    assert bench() == 0
    assert [len(calls(package)) for package in both] == [1, 1]


def test_methods_come_by_name(site):
    for name in ("fake_a", "fake_c", "fake_b"):
        install(site, name, behaviours=())
    assert [name for name in methods.installed() if name.startswith("fake")] == ["fake_a", "fake_b", "fake_c"]


def test_a_distribution_name_with_dashes_is_accepted(site):
    install(site, "fake_a")
    assert [(one.name, one.module) for one in methods.choose(["fake-a"])] == [("fake_a", "fake_a.bench")]


def test_choose_keeps_the_order_of_the_request(site):
    for name in ("fake_a", "fake_b"):
        install(site, name)
    assert [one.name for one in methods.choose(["fake_b", "fake_a"])] == ["fake_b", "fake_a"]
    with pytest.raises(InputError):
        methods.choose(["fake_c"])

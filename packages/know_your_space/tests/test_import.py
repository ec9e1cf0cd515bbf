"""The package imports, and does not offer itself to `ood-bench` before its detector is built."""

from importlib import import_module, metadata


def test_the_package_imports():
    assert import_module("know_your_space").__doc__


def test_no_bench_is_registered_before_the_method_is_built():
    registered = {entry.name for entry in metadata.entry_points(group="ood_shared.bench")}
    assert "know_your_space" not in registered

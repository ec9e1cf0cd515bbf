"""The package is a room without furniture: it imports, and it does not offer itself to `ood-bench`."""

from importlib import import_module, metadata


def test_the_package_imports():
    assert import_module("mood_dpa").__doc__


def test_no_bench_is_registered_before_the_method_is_built():
    registered = {entry.name for entry in metadata.entry_points(group="ood_shared.bench")}
    assert "mood_dpa" not in registered

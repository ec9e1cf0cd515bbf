"""The package imports, and importing it does no work."""

from importlib import import_module


def test_the_package_imports():
    assert import_module("imood").__doc__

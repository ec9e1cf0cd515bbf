"""The package imports."""

from importlib import import_module


def test_the_package_imports():
    assert import_module("know_your_space").__doc__

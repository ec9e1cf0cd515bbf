"""The package imports, and importing it does no work."""

import subprocess
import sys
from importlib import import_module

import pytest
from ood_shared.testing.commands import clean_environment


def test_the_package_imports():
    assert import_module("imood").__doc__


def test_load_and_fit_bring_torch_when_they_are_asked_for():
    code = "import sys, imood; print('torch' in sys.modules, imood.__all__); imood.load, imood.fit; "
    code += "print('torch' in sys.modules, callable(imood.fit), callable(imood.load))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment(), timeout=120
    )
    assert found.stdout.splitlines() == ["False ['fit', 'load']", "True True True"], found.stderr


def test_other_names_are_not_there():
    import imood

    with pytest.raises(AttributeError, match="no attribute 'score'"):
        imood.score  # noqa: B018

"""A place for the methods that tests install."""

import os

import pytest
from ood_bench import page
from ood_shared.report import PNG_SIGNATURE


@pytest.fixture
def drawn():
    """Asked for by the tests that look at the figures."""


@pytest.fixture
def site(tmp_path, monkeypatch, request):
    """A folder on the path of this process and of the methods'; and an empty working folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.chdir(tmp_path)
    if "drawn" not in request.fixturenames:  # drawing takes longer than everything else
        for name in ("roc", "histograms"):
            monkeypatch.setattr(page.plots, name, lambda *_: PNG_SIGNATURE)
    return folder

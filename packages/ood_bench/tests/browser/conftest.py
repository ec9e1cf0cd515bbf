"""Chromium of the system, driven by Playwright, and the report that it opens."""

import os
import shutil

import numpy as np
import pytest
from ood_bench import leaderboard, page, verdict
from ood_shared.report import write_report
from ood_shared.results.thumbnails import read_pictures, write_pictures
from ood_shared.testing.results import result

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_chromium = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]
PHONE, DESKTOP, PAPER = 390, 1280, 703  # px; a page of A4 between margins of 12 mm
LONG = "/data/of/another/hospital/with/a/long/name/scans"
SETS = ("novel", "textures", LONG)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses a sandbox to root
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of five methods on three sets, the first of them near; one method leaves no pictures, one run failed."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    results, pictures = [], {}
    for number, method in enumerate(("alpha", "a_method_with_a_long_name", "beta", "gamma", "delta")):
        (record, scores), again = (result(method, seed, SETS, shift=number / 2) for seed in (0, 1))
        facts = {"backbone": "common", "parameters": 78_000 + number, "epochs": 3.5, "extra_data": None}
        record["config"] = facts if number else {}
        results += [(record, scores), again]
        if number:
            channels = 1 if number == 1 else 3
            sizes = zip(scores["names"].tolist(), np.bincount(scores["dataset"]), strict=True)
            sets = {name: random.integers(0, 256, (n, channels, 12, 12), dtype=np.uint8) for name, n in sizes}
            write_pictures(folder / method, scores, sets, ["healthy", "pneumonia", "effusion"])
            pictures[method] = read_pictures(folder / method, scores)
    places = leaderboard.leaderboard(results, ["novel"], random, resamples=50)
    failures = {"epsilon, seed 0": ("exit status 1", "last lines of log.txt:", "  " + "a_long_word" * 30)}
    settings = {"id": "digits", "budget": "smoke", "ood": SETS, "seeds": [0, 1]}
    named = verdict.decide(results, places, ["alpha", "beta"], {"delta": folder / "delta" / "model.ood"})
    sections = page.sections(results, failures, "ood-bench --ood " + LONG, settings, places, pictures, named)
    write_report(folder / "report.html", "OOD detection on digits", sections)
    return (folder / "report.html").as_uri()


@pytest.fixture
def visit(browser):
    """A function that opens a page and returns it, with what went wrong there in `faults`."""
    contexts = []

    def open_page(url, width=DESKTOP, scheme="light", scripts=True):
        view = {"width": width, "height": 800}
        context = browser.new_context(viewport=view, color_scheme=scheme, java_script_enabled=scripts)
        contexts.append(context)
        tab, faults = context.new_page(), []
        tab.on("console", lambda message: faults.append(f"console: {message.type}: {message.text}"))
        tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
        tab.on("request", lambda request: faults.append(request.url) if outside(request.url, url) else None)
        tab.goto(url)
        return tab, faults

    yield open_page
    for context in contexts:
        context.close()


def outside(address, url):
    return address.split("#")[0] != url and not address.startswith("data:")

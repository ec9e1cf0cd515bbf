"""What the report of `ood-bench` says, and its verdict."""

import json
import re

from ood_bench import summary
from ood_shared.run_model import MODEL

from .fakes import bench, install


def test_the_report_refers_to_nothing_outside_and_holds_every_section(site, tmp_path, drawn):
    for name in ("fake_a", "fake_b"):
        install(site, name)
    bench("--methods", "fake_a,fake_b")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert headings[:4] == ["Verdict", "Leaderboard", "What is caught", "AUROC side by side"]
    assert headings[4:6] == ["Accuracy and cost", "ROC: near"]
    assert {"ROC: far", "Scores: fake_a", "Scores: fake_b", "Every OOD set", "Other metrics"} <= set(headings)
    assert headings.index("ROC: near") < headings.index("Scores: fake_a") < headings.index("How it was run")
    assert "95 % bootstrap interval over test images only" in text
    assert "share of ID flagged at the threshold that catches 95 % of OOD" in text
    assert text.count("data:image/png;base64,") == 4


def test_from_one_training_no_p_is_told_and_no_interval_but_over_images_only(site, tmp_path, capsys, drawn):
    for name in ("fake_a", "fake_b"):
        install(site, name, behaviours=("ok", "ok"))
    bench("--methods", "fake_a,fake_b")
    once, printed = (tmp_path / "out" / "report.html").read_text(), capsys.readouterr().out
    bench("--methods", "fake_a,fake_b", "--seeds", "2")
    twice = (tmp_path / "out" / "report.html").read_text()
    assert "how much a training varies is not known; run --seeds 3" in once
    assert "how much a training varies is not known; run --seeds 3" in " ".join(printed.split())
    assert "over trainings" not in once
    assert "over trainings" in twice
    assert "how much a training varies" not in twice
    for words, there in ((once, False), (twice, True)):
        board = words[words.index("Leaderboard</h2>") : words.index("What is caught</h2>")]
        assert (">p\N{NO-BREAK SPACE}↑<" in board) is there
        assert (re.search(r"\[\d", board) is not None) is there


def test_the_verdict_ends_the_run_and_stands_in_the_results_and_first_in_the_report(
    site, tmp_path, capsys, drawn, monkeypatch
):
    package = install(site, "fake_a")
    monkeypatch.delenv("UV", raising=False)
    (package / "stash-0" / MODEL).write_bytes(b"a detector")
    assert bench("--methods", "fake_a") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  ood-detect score out/fake_a/seed-0/model.ood ./new_images --csv out.csv"
    verdict = json.loads((tmp_path / "out" / "results.json").read_text())["verdict"]
    assert (verdict["method"], verdict["file"], verdict["alarm_rate"]) == ("fake_a", "fake_a/seed-0/model.ood", 0.05)
    assert verdict["command"] == last.strip()
    assert list(verdict["caught"]) == ["near", "far"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.index("Verdict</h2>") < text.index(last.strip()) < text.index("1 of 1 runs finished")


def test_without_a_file_the_verdict_names_none(site, tmp_path, capsys):
    install(site, "fake_a")
    bench("--methods", "fake_a")
    verdict = json.loads((tmp_path / "out" / "results.json").read_text())["verdict"]
    assert (verdict["method"], verdict["file"], verdict["command"]) == ("fake_a", None, None)
    assert "model.ood" not in capsys.readouterr().out


def test_when_nothing_finished_there_is_no_verdict(site, tmp_path, capsys):
    install(site, "fake_a", behaviours=("fail",))
    bench("--methods", "fake_a")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["verdict"] is None
    assert "Verdict" not in capsys.readouterr().out


def test_a_single_method_has_one_roc_figure_with_every_set(site, tmp_path, drawn):
    install(site, "fake_a")
    bench("--methods", "fake_a")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", (tmp_path / "out" / "report.html").read_text())
    assert [heading for heading in headings if heading.startswith("ROC")] == ["ROC: fake_a"]


def test_names_in_the_report_are_escaped(site, tmp_path, drawn):
    install(site, "fake_a", ood=("<b>", "$x_{"))
    assert bench("--methods", "fake_a") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_what_was_told_of_a_path_is_not_told_again_of_the_set_in_it():
    told = ["data/brains.tar: 2 folders are read as classes. Pass --one-class.", "Runs went side by side."]
    record = {
        "config": {"notes": ["brains: 2 folders are read as classes. Pass --one-class.", "brains: cut to squares"]}
    }
    assert summary.notes([record, record], told) == ["brains: cut to squares"]
    assert len(summary.notes([record])) == 2

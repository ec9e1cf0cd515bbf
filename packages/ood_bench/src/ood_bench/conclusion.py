"""What `ood-bench` leaves when its runs have ended: the report, the leaderboard and all results; and what it prints."""

import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared import files
from ood_shared.contract import NOVEL
from ood_shared.errors import InputError
from ood_shared.report import write_report
from ood_shared.results.schema import CONVENTION, SCHEMA_VERSION
from ood_shared.results.thumbnails import Pictures, read_pictures
from ood_shared.run_model import MODEL

from ood_bench import leaderboard, page, summary
from ood_bench.jobs import say
from ood_bench.run_folder import Ended
from ood_bench.settings import LEADERBOARD, REPORT, RESULTS
from ood_bench.verdict import Verdict, decide

WIDTH = 100  # of what is printed


def conclude(ended: Sequence[Ended], folder: Path, command_line: str, settings: dict[str, Any]) -> int:
    """Write the report and the JSON, print the tables, and name what failed; returns 1 when something did, else 0.

    Args:
        ended: every run.
        folder: of all files.
        command_line: for the report.
        settings: the flags, and what came of them.
    """
    results = [result for end in ended for result in end.results]
    failures = {str(end.run): end.failure for end in ended if not end.results}
    records = [record for record, _ in results]
    places = leaderboard.leaderboard(results, [NOVEL], np.random.default_rng(0))
    told = list(settings.get("notes", ()))
    more = summary.notes(records, told)
    settings["notes"] = [*told, *more]
    for note in more:
        say(f"note: {note}")
    verdict = decide(results, places, settings["methods"], _detectors_of(ended))
    _write_results(ended, folder, command_line, settings, verdict)
    files.write_json(folder / f"{LEADERBOARD}.json", leaderboard.as_json(places))
    files.write_text(folder / f"{LEADERBOARD}.csv", leaderboard.as_csv(places))
    title = f"OOD detection on {settings['id']}"
    pictures = _pictures_of(ended)
    sections = page.sections(results, failures, command_line, settings, places, pictures, verdict)
    write_report(folder / REPORT, title, sections)
    if records:
        print("\n".join(["", *summary.as_lines(records), ""]))
    print(f"report: {folder / REPORT}\nnumbers: {folder / RESULTS}")
    if verdict:
        print("\n".join(["", *_lines(verdict)]))
    if failures:
        say(f"ood-bench: {len(failures)} of {len(ended)} run(s) failed: {'; '.join(failures)}")
    return 1 if failures else 0


def _lines(verdict: Verdict) -> list[str]:
    """The verdict for a terminal; the command in one piece, to be copied."""
    said = [line for text in verdict.paragraphs() for line in textwrap.wrap(text, WIDTH, break_long_words=False)]
    return ["Verdict", *said, *([] if verdict.command is None else [f"  {verdict.command}"])]


def _detectors_of(ended: Sequence[Ended]) -> dict[str, Path]:
    """By method, the detector that its first finished run left in a file, where it did."""
    found: dict[str, Path] = {}
    for end in ended:
        if end.results:
            for method, folder in end.run.folders().items():
                if (folder / MODEL).is_file():
                    found.setdefault(method, folder / MODEL)
    return found


def _pictures_of(ended: Sequence[Ended]) -> dict[str, Pictures | None]:
    """The pictures of each method's first run; a damaged file is named and costs the report no more than these."""
    found: dict[str, Pictures | None] = {}
    for end in ended:
        for (method, folder), (_, scores) in zip(end.run.folders().items(), end.results, strict=False):
            if method not in found:
                try:
                    found[method] = read_pictures(folder, scores)
                except InputError as error:
                    found[method] = None
                    say(f"ood-bench: no pictures of {method}: {error}")
    return found


def _write_results(
    ended: Sequence[Ended], folder: Path, command_line: str, settings: dict[str, Any], verdict: Verdict | None
) -> None:
    runs = [
        {
            "method": end.run.source.name,
            "seed": end.run.seed,
            "status": "done" if end.results else "failed",
            "seconds": end.seconds,
            "attempts": end.attempts,
            "folder": end.run.folder.relative_to(folder).as_posix(),
            "failure": list(end.failure),
            "results": [record for record, _ in end.results],
        }
        for end in ended
    ]
    records = [record for end in ended for record, _ in end.results]
    about = {
        "schema_version": SCHEMA_VERSION,
        "score_convention": CONVENTION,
        "finished": time.strftime("%FT%TZ", time.gmtime()),
    }
    about |= {"command_line": command_line, "settings": settings}
    about |= {"verdict": None if verdict is None else verdict.record(folder)}
    files.write_json(folder / RESULTS, {**about, "summary": summary.as_json(records), "runs": runs})

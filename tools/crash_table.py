"""The crash table of docs/trust.md: every trainer killed, terminated and starved, time after time.

    python tools/crash_table.py oodgen know_your_space imood ascood mood_dpa --kills 25 --terms 5

Each package's `tests/crash_trainers.py` says how its trainers are run (`ood_shared.testing.trainers`). The record is
`docs/crashes.json`; what it holds already of a package is kept unless the package is named.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ood_shared import files
from ood_shared.runs import commit

ROOT = Path(__file__).resolve().parents[1]
RECORD, PAGE = ROOT / "docs/crashes.json", ROOT / "docs/trust.md"
BLOCK = re.compile(r"(<!-- crashes -->\n).*?(<!-- end -->)", re.S)
PACKAGES = ("oodgen", "know_your_space", "imood", "ascood", "mood_dpa")
CLAIMS = ("same_weights", "same_metrics", "clean")


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=[], metavar="PACKAGE", help=", ".join(PACKAGES))
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--terms", type=int, default=5)
    options = parser.parse_args()
    record: dict[str, Any] = files.read_json(RECORD) if RECORD.is_file() else {}
    chosen = options.packages or [name for name in PACKAGES if name not in record]
    if not chosen:
        print(f"nothing is measured: {RECORD.name} has all. Name what to measure again: {', '.join(PACKAGES)}")
    for package in chosen:
        words = [str(ROOT / f"packages/{package}/tests/crash_trainers.py"), "--kills", str(options.kills)]
        words += ["--terms", str(options.terms)]
        ended = subprocess.run(
            [sys.executable, "-m", "ood_shared.testing.crashes", *words], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(ended.stdout[ended.stdout.index("{\n") :])
        record[package] = {"commit": commit(), "system": platform.system(), "trainers": found}
        files.write_json(RECORD, record)
    page = PAGE.read_text(encoding="utf-8")
    files.write_text(PAGE, BLOCK.sub(lambda match: f"{match[1]}{table(record)}\n{match[2]}", page))
    return 0


def table(record: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = [
        "| trainer | killed | same weights, same metrics, nothing left | terminated | saved, status 143 within 5 s | "
        "slowest | same weights | no room: one line, last checkpoint whole, same weights later |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for package in PACKAGES:
        for name, found in record.get(package, {}).get("trainers", {}).items():
            kill, term, starved = found["kill"], found["term"], found["starved"]
            held = [starved[claim] for claim in ("refused_in_one_line", "last_checkpoint_intact", "same_weights")]
            cells = [
                f"`{name}`",
                f"{kill['stopped']} of {kill['runs']} runs",
                ", ".join(f"{kill[claim]} of {kill['runs']}" for claim in CLAIMS),
                f"{term['stopped']} of {term['runs']} runs",
                f"{term['status_143_in_5_s']} of {term['runs']}",
                f"{term['slowest_seconds']} s",
                f"{term['same_weights']} of {term['runs']}",
                ", ".join("yes" if one else "no" for one in held),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

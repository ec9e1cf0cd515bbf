"""Which detector to take, by a rule that never looks at OOD test images, and what it catches.

The rule is fixed: the fused detector, where it is among the methods; else the only method. Where neither holds, all
that is left is the first of the leaderboard, and the verdict says that this choice was made on the sets that it is then
judged by. Whoever is clearly ahead of the detector named is named too.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared.contract import PRETRAINED

from ood_bench import fused_bench
from ood_bench.isolated import project
from ood_bench.leaderboard import Entry, Share
from ood_bench.operating import RATE, Caught, Result, caught, words_of

BY_RULE = "by a rule that looks at no OOD image: the fused detector, where it is among the methods"
ONLY = "the only method that was asked for"
OPTIMISTIC = (
    "the first on these OOD sets, which is an optimistic choice: the leaderboard ranks on the very sets that are named "
    "here. With the fused detector among --methods, the choice is made without them"
)


def started_by() -> str:
    """What stands before a command of this environment, as it was started: nothing, or words of uv with a space."""
    if "UV" not in os.environ:  # uv tells the programs that it runs where it lies itself
        return ""
    folder = project()
    if folder is None or Path.cwd().is_relative_to(folder):
        return "uv run "
    return f"uv run --project {shlex.quote(str(folder))} "


@dataclass(frozen=True)
class Verdict:
    """A detector to take.

    Attributes:
        method: its name.
        why: it is named.
        missing: what should have been named but has no result; empty when nothing.
        caught: by OOD set, the share above the threshold for `RATE` false alarms; empty with too few ID images.
        seeds: of its runs.
        budget: of its trainings.
        file: its detector in a file, of the first seed that left one; None where none did.
        beaten_by: methods whose mean AUROC is clearly ahead, and how far.
        trained: whether its network was trained here; pretrained features are not.
    """

    method: str
    why: str
    missing: str
    caught: Mapping[str, Caught]
    seeds: tuple[int, ...]
    budget: str
    file: Path | None
    beaten_by: Mapping[str, Share]
    trained: bool = True

    @property
    def command(self) -> str | None:
        """How to use the file, from the folder and in the way in which this was started."""
        if self.file is None:
            return None
        return f"{started_by()}ood-detect score {shlex.quote(str(self.file))} ./new_images --csv out.csv"

    def record(self, folder: Path) -> dict[str, Any]:
        """For `results.json` in a folder, from where the file is named; shares in [0, 1]."""
        return {
            "method": self.method,
            "why": self.why,
            "missing": self.missing or None,
            "alarm_rate": RATE,
            "caught": {ood: {"mean": c.mean, "low": c.low, "high": c.high} for ood, c in self.caught.items()},
            "seeds": list(self.seeds),
            "budget": self.budget,
            "file": None if self.file is None else self.file.relative_to(folder).as_posix(),
            "command": self.command,
            "beaten_by": {method: share.record() for method, share in self.beaten_by.items()},
        }

    def paragraphs(self) -> list[str]:
        """For people, without the command."""
        said = [f"Take {self.method}: {self.why}."]
        if self.missing:
            said.insert(0, self.missing)
        said.append(self._catches())
        said += [self._ahead()] if self.beaten_by else []
        if self.budget == "smoke":
            what = "a training of seconds: train" if self.trained else "of at most 2,000 images: fit it"
            said.append(f"Its budget was smoke, {what} with --budget quick or full before using it.")
        if self.file is not None:
            said.append(
                f"The file of {'its first' if len(self.seeds) > 1 else 'its'} training: {self.file}. To use it:"
            )
        return said

    def _catches(self) -> str:
        if not self.caught:
            return f"What it catches at {words_of(RATE)} false alarms cannot be told: there are too few ID test images."
        sets = ", ".join(f"{ood} {share.words()}" for ood, share in self.caught.items())
        over = (
            f"mean and range of {len(self.seeds)} seeds"
            if len(self.seeds) > 1
            else "one training: how much a training varies is not known, run --seeds 3"
        )
        return f"At {words_of(RATE)} false alarms it catches, in % of each set: {sets} ({over})."

    def _ahead(self) -> str:
        (first, share), *others = self.beaten_by.items()
        points = f"{100 * share.value:.2f} points of mean AUROC [{100 * share.low:.2f}, {100 * share.high:.2f}]"
        over = "over images and trainings" if len(self.seeds) > 1 else "over images only, one training of each"
        so_are = ", ".join(f"{method} ({100 * ahead.value:.2f})" for method, ahead in others)
        so_are = f"; so {'are' if len(others) > 1 else 'is'} {so_are}" if others else ""
        return f"On these OOD sets {first} is clearly ahead of it, by {points}, 95 % {over}{so_are}."


def decide(
    results: Sequence[Result],
    places: Sequence[Entry],
    asked: Sequence[str],
    files: Mapping[str, Path],
) -> Verdict | None:
    """The verdict; None without any result.

    Args:
        results: record and scores of every finished run.
        places: their leaderboard.
        asked: methods that were to run, whether or not they did.
        files: by method, the detector that it left.
    """
    if not places:
        return None
    finished, missing = {entry.method: entry for entry in places}, ""
    if fused_bench.NAME in finished:
        method, why = fused_bench.NAME, BY_RULE
    elif list(asked) == [places[0].method]:
        method, why = places[0].method, ONLY
    else:
        method, why = places[0].method, OPTIMISTIC
        if fused_bench.NAME in asked:
            missing = f"{fused_bench.NAME}, which the rule names, failed."
    own = sorted((result for result in results if result[0]["method"] == method), key=lambda result: result[0]["seed"])
    seeds = tuple(record["seed"] for record, _ in own)
    first, beaten_by = own[0][0], finished[method].beaten_by
    trained = first["config"].get("backbone") != PRETRAINED
    return Verdict(method, why, missing, caught(own), seeds, first["budget"], files.get(method), beaten_by, trained)

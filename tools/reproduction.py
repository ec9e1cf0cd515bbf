"""Make docs/reproduction.md from the claims, the list of trainings and the packages' result files.

    python tools/reproduction.py            # write the page
    python tools/reproduction.py --check    # status 1 when the page is not what would be written

Of the standard library alone: it runs without an environment.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from claims import CLAIMS, Claim
from gpu_training_list import ON_A_GPU
from training import Training
from training_list import TRAININGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
PAPERS = {
    "oodgen": "Vernekar et al., arXiv 1910.04241; the numbers are those of the authors' notebooks, which kept the runs",
    "mood_dpa": "MOOD challenge, third place of the pixel task; its data and scores are not public",
    "ascood": "ASCOOD, arXiv 2411.10794, table 1",
    "imood": "ImOOD, NeurIPS 2024",
    "know_your_space": "Know Your Space, MIDL 2023",
}
ELSEWHERE = {
    "oodgen": "Both types of outliers and plain methods are compared",
    "mood_dpa": "The tables on embedded subjects stand",
    "ascood": "All scores and sets stand",
    "imood": "Head, median, tail and accuracies stand",
    "know_your_space": "The ablation over spaces stands",
}
HEAD = """# Reproducing the papers

One line for each number of a paper that was tried: the paper's, ours, and what differs. Ours are AUROC in percent, the
mean over seeds with the range over them, read from the files that are linked; this page is made by
`python tools/reproduction.py` and checked by `nox -s lint`. A line without a number is a training that was not
finished.
"""
TAIL = """## Making the numbers

```
uv run nox -s "reproduce(package='oodgen')" -- --data DIR       # or with OOD_TEST_DATA in place of --data
uv run python tools/trainings.py run --data DIR --only NAME …   # single trainings
uv run python tools/trainings.py list                           # what is finished, what is under way
uv run python tools/trainings.py run --data DIR --gpu --stop-after 540   # the papers' networks, in slices
uv run nox -s gpu -- --data DIR   # the checks of a GPU, then the same
```

It says beforehand how long it will take. DIR holds `MNIST/raw`, `FashionMNIST/raw`, `medmnist/pneumoniamnist.npz` and
image folders as archives: `cifar10_imagefolder`, `aux_tinyimagenet32`, `ood32_{tinyimagenet,textures,scenes}` and
`mednist64` as `.tar.gz`, `chest_xray224.tar`. Trainings on embedded images need none. With `--gpu` DIR is laid out as
each package's README says. A training runs from a clone at the commit at which it began, and a finished one leaves its
numbers in `packages/<package>/results`; `python tools/reproduction.py` then writes this page anew.

Every command saves at SIGTERM, and after `--stop-after SECONDS`, and goes on to the weights of an undisturbed run, bit
for bit on a CPU. A killed machine costs at most one epoch, or a minute of short ones (imood, ascood).

## What is trained

Hours are of one idle core, estimated from measured epochs; of the others nothing was measured.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for package, paper in PAPERS.items():
        lines = [f"## {package}", "", f"{paper}.", ""]
        claims = [claim for claim in CLAIMS if claim.package == package]
        if claims:
            lines += ["| setting | paper | here | what differs |", "|---|---|---|---|", *map(_row, claims), ""]
        lines += [f"{ELSEWHERE[package]} in the [package's README](../packages/{package}/README.md#results).", ""]
        parts.append("\n".join(lines))
    parts += [TAIL, "\n".join(["| training | what | paper | here | hours |", "|---|---|---|---|---|"])]
    return "\n".join(parts) + "\n" + "".join(f"{_training(one)}\n" for one in (*TRAININGS, *ON_A_GPU))


def _row(claim: Claim) -> str:
    path = ROOT / "packages" / claim.package / "results" / claim.file
    found = claim.find(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []
    if not found:
        return f"| {claim.setting} | {claim.paper} | not finished | {claim.differs} |"
    link = f"../packages/{claim.package}/results/{claim.file}"
    return f"| {claim.setting} | {claim.paper} | [{_shown(found)}]({link}) | {claim.differs} |"


def _shown(numbers: Sequence[float]) -> str:
    mean = sum(numbers) / len(numbers)
    if len(numbers) == 1:
        return f"{mean:.1f}"
    two = ", two seeds" if len(numbers) == 2 else ""
    return f"{mean:.1f} ({min(numbers):.1f} to {max(numbers):.1f}{two})"


def _training(training: Training) -> str:
    hours = "a GPU" if training.hours is None else f"{training.hours:g}"
    return f"| `{training.name}` | {training.what} | {training.paper} | {training.here} | {hours} |"


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the page that is there")
    options = parser.parse_args()
    text = page()
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is not what its sources make. Run python tools/reproduction.py.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

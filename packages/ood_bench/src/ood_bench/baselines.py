"""Plain detectors on one cross-entropy classifier, for comparison: what a method has to beat.

    python -m ood_bench.baselines --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

One classifier is trained and every image passes it once; `out/<detector>/` then holds `result.json` and `scores.npz` of
each detector. The detectors are those of pytorch-ood. The classifier is the common one, also with `--backbone paper`:
none of these papers is here. `baseline_detectors` does the work.
"""

import sys
from collections.abc import Sequence

from ood_shared.contract import COMMON, bench_parser, run_bench

DETECTORS = ("msp", "max_logit", "energy", "odin", "knn", "mahalanobis", "vim", "react")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m ood_bench.baselines`."""
    parser = bench_parser("baselines", pretrained=True)
    parser.add_argument(
        "--detectors", default=",".join(DETECTORS), metavar="A,B", help=f"of {', '.join(DETECTORS)} (default: all)"
    )
    return run_bench("ood_bench.baseline_detectors", COMMON, parser, argv)


if __name__ == "__main__":
    sys.exit(main())

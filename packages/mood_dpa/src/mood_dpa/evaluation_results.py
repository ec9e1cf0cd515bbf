"""What an evaluation leaves: printed metrics, `scores.csv`, `result.json`, and overlays with a page of them."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared import distributed, files, metrics

from mood_dpa.data.volume_queue import report_failures
from mood_dpa.figures import Planes, write_overlays
from mood_dpa.ranking import Metrics, Ranking, rank_metrics


def finish(
    root: Path,
    pixels: Ranking,
    samples: list[tuple[str, bool, float]],
    drawn: list[Planes],
    failed: list[str],
    total: int,
    precision: str,
) -> dict[str, Metrics]:
    """Gather the ranks' scores, print the metrics, and write `scores.csv`, `result.json`, overlays and `report.html`.

    Args:
        root: results_root.
        pixels: scores and labels of this rank's voxels.
        samples: name, whether it has an anomaly, and score of each of its volumes or slices.
        drawn: planes of the overlays; none without pictures.
        failed: what could not be read, said at the end.
        total: volumes or slices of the set.
        precision: of the passes, for the record.

    Returns:
        Metrics of `sample` and `pixel`.
    """
    gathered = distributed.gather_objects((pixels.state(), samples, drawn, failed))
    merged = Ranking.merged([part[0] for part in gathered])
    samples, failed = (sorted(entry for part in gathered for entry in part[i]) for i in (1, 3))
    drawn = sorted((planes for part in gathered for planes in part[2]), key=lambda planes: planes.name)
    if not samples:
        report_failures(failed, 0)
    _, labels, scores = zip(*samples, strict=True)
    with warnings.catch_warnings():  # of a set with labels of one kind; said below
        warnings.simplefilter("ignore")
        results = {"sample": rank_metrics(labels, scores), "pixel": merged.metrics()}
    if not distributed.is_main():
        return results
    for kind, values in results.items():
        print(f"{kind}: AP {values.ap:.4f}  AUC {values.auroc:.4f}")
    if len(set(labels)) < 2:
        kind = "have anomalies" if labels[0] else "are healthy"
        print(f"note: all {len(labels)} {kind}, so AP and AUC of samples say nothing.", file=sys.stderr)
    if not merged.exact:
        print("pixel scores were counted in 2^22 bins (too many voxels to sort).")
    rows = [f"{kind},{v.ap!r},{'' if np.isnan(v.auroc) else repr(v.auroc)}" for kind, v in results.items()]
    files.write_text(root / "scores.csv", "\n".join([",AP,ROC AUC", *rows]) + "\n")
    record: dict[str, Any] = {
        kind: {"ap": values.ap, "auroc": None if np.isnan(values.auroc) else values.auroc}
        for kind, values in results.items()
    }
    record["volumes"] = {name: {"score": score, "label": int(label)} for name, label, score in samples}
    if 0 < sum(labels) < len(labels):
        y, s = np.array(labels), np.array(scores)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record["sample"] |= metrics.evaluate(s[~y], s[y])
    files.write_json(root / "result.json", record | {"precision": precision})
    if drawn:
        table = {kind: {"AP": values.ap, "AUROC": values.auroc} for kind, values in results.items()}
        write_overlays(root / "pictures", root / "report.html", f"Anomaly maps of {root.name}", drawn, table)
    report_failures(failed, total - len(failed))
    return results

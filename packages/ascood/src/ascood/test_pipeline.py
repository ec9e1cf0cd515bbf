"""The pipeline test_ood of main.py: one network, one score, `ood.csv` and `scores/<set>.npz` in the run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ood_shared import checkpoints, distributed, files
from ood_shared.errors import InputError

from ascood import config as configs
from ascood.build import network_of_config, to_device
from ascood.data.suites import suite_of_config
from ascood.evaluator import Evaluator
from ascood.metrics import COLUMNS
from ascood.scores.catalogue import make_score
from ascood.tables import as_text, cells

if TYPE_CHECKING:
    from ascood.train import Compute

__test__ = False  # no tests in here, whatever its name


def test_ood(config: Mapping[str, Any], folder: Path, compute: "Compute") -> None:
    """Judge the network of the config on its `ood_dataset`, by its `postprocessor`.

    Args:
        config: resolved.
        folder: for ood.csv (rows are appended to an existing one) and the scores.
        compute: device and the like.
    """
    name = configs.get(config, "postprocessor.name")
    if name is None:
        raise InputError("The config lacks `postprocessor.name`. Add a file of configs/postprocessors to --config.")
    scheme = str(configs.get(config, "evaluator.ood_scheme", "ood"))
    if scheme not in ("ood", "fsood"):
        raise InputError(f"evaluator.ood_scheme `{scheme}` is not known. Known: ood, fsood.")
    suite = suite_of_config(config, compute.data_dir)
    network = to_device(network_of_config(config["network"], suite.classes), compute.device).eval()
    path = Path(str(configs.get(config, "network.checkpoint")))
    identity = {"weights": checkpoints.sha256(path) if path.is_file() else None}
    workers = int(configs.get(config, "num_workers", 0))
    evaluator = Evaluator(network, suite, None, compute.device, identity, 200, workers, compute.precision)
    score = make_score(str(name))
    own = configs.get(config, "postprocessor.postprocessor_args")
    score.args.update(own or {})
    arrays, _ = evaluator.score_all(
        score, scheme == "fsood", bool(configs.get(config, "postprocessor.APS_mode", False))
    )
    rows = cells([evaluator.table(arrays, scheme == "fsood")], spread=False)
    if not distributed.is_main():
        return
    print(as_text(rows, f"{score.name}, percent"), flush=True)
    if configs.get(config, "recorder.save_csv", True):
        append_rows(folder / "ood.csv", rows)
    if configs.get(config, "recorder.save_scores", True):
        for key in evaluator.keys(scheme == "fsood"):
            with files.atomic_path(folder / "scores" / f"{key.rsplit('/', 1)[-1]}.npz") as temporary:
                parts: dict[str, Any] = {part: arrays[f"{key}/{part}"] for part in ("pred", "conf", "label")}
                np.savez(temporary, **parts)


test_ood.__test__ = False  # type: ignore[attr-defined]


def append_rows(path: Path, rows: list[list[str]]) -> None:
    """Rows of `dataset` and the five metrics, after those that are there."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ",".join(["dataset", *COLUMNS]) + "\n"
    files.write_text(path, before + "".join(",".join(row) + "\n" for row in rows))

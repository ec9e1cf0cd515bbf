"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `command` is the command line, `comparison` a comparison from its flags to its report. `methods` finds
the packages; `jobs` is one method with one seed, `processes` runs it, with a `guard` for the time after a kill, and
`locks` keeps its folder. `launchers` starts the jobs: here, in environments of their own with `isolated`, or on a
cluster with `slurm`, `slurm_job` on its nodes and `slurm_queue` for its own words. `summary` and `leaderboard` bring
results together, `operating` says what is caught at a rate of false alarms and `verdict` which detector to take, `page`
with `tables` shows them, `conclusion` writes it all down. `baselines` are plain detectors to compare with.

`ood-detect` is the second command: `detect_command` and `detect` fit, score and check one calibrated detector, the
fused one: `fused` has its equations, `fused_fit` fits it, `fused_detector` is the object, `fused_bench` its row in a
comparison, `backbones` the networks whose maps it measures, `id_images` what it is fitted on. Thresholds and files are
shared's (`calibrated`, `model_file`):

    detector = ood_bench.load("model.ood")
    scores, classes = detector.score(images), detector.predict(images)      # -1 beyond the threshold

The packages' side of the contract is `ood_shared.contract`, and `ood_shared.results` what they leave.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ood_shared.calibrated import Calibrated

__all__ = ["load"]


def load(path: Any, device: str = "auto", backbone: str | None = None) -> "Calibrated":
    """The detector in a file `model.ood`; see `ood_bench.detect.load`."""
    from ood_bench import detect

    return detect.load(path, device, backbone)

"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `command` is the command line, `comparison` a comparison from its flags to its report. `methods` finds
the packages; `jobs` is one method with one seed, `processes` runs it, with a `guard` for the time after a kill, and
`locks` keeps its folder. `launchers` starts the jobs: here, in environments of their own with `isolated`, or on a
cluster with `slurm`, `slurm_job` on its nodes and `slurm_queue` for its own words. `summary` and `leaderboard` bring
results together, `operating` says what is caught at a rate of false alarms and `verdict` which detector to take, `page`
with `tables` shows them, `conclusion` writes it all down. `baselines` are plain detectors to compare with.

`ood-detect` is the second command: `detect_command` and `detect` fit, score and check one calibrated detector, the
fused one (`fused` has its equations, `fused_detector` the object, `fused_bench` its row in a comparison), kept in one
file by `model_file`:

    detector = ood_bench.load("model.ood")
    scores, classes = detector.score(images), detector.predict(images)      # -1 beyond the threshold

The packages' side of the contract is `ood_shared.contract`, and `ood_shared.results` what they leave.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ood_bench.fused_detector import FusedDetector

__all__ = ["load"]


def load(path: Any, device: str = "auto") -> "FusedDetector":
    """The detector in a file of `ood-detect fit`; see `ood_bench.model_file.load`."""
    from ood_bench import model_file

    return model_file.load(path, device)

"""Evaluation of volumes: `mood_dpa.evaluate` and `mood_dpa.scores`.

`python -m anomaly_detection.dpa.inference_evaluate_3d CONFIG` is `mood-dpa inference_evaluate_3d CONFIG`.
"""

import sys

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(
    __name__,
    "mood_dpa.evaluate",
    "mood_dpa.evaluation_results",
    "mood_dpa.scores",
    "mood_dpa.commands",
    "mood_dpa.config_files",
    "mood_dpa.configuration",
)

if __name__ == "__main__":
    from mood_dpa.cli import COMMANDS

    sys.exit(COMMANDS["inference_evaluate_3d"](None))

"""Evaluation of slices: `mood_dpa.evaluate`.

`python -m anomaly_detection.dpa.evaluate CONFIG` is `mood-dpa evaluate CONFIG`.
"""

import sys

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(
    __name__,
    "mood_dpa.evaluate",
    "mood_dpa.evaluation_results",
    "mood_dpa.commands",
    "mood_dpa.config_files",
    "mood_dpa.configuration",
    "mood_dpa.scores",
)

if __name__ == "__main__":
    from mood_dpa.cli import COMMANDS

    sys.exit(COMMANDS["evaluate"](None))

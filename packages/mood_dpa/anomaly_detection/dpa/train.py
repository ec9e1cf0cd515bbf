"""Training: `mood_dpa.train` and `mood_dpa.loop`.

`python -m anomaly_detection.dpa.train CONFIG` is `mood-dpa train CONFIG`.
"""

import sys

from anomaly_detection.forwarding import forward

__getattr__, __dir__ = forward(
    __name__,
    "mood_dpa.train",
    "mood_dpa.loop",
    "mood_dpa.commands",
    "mood_dpa.config_files",
    "mood_dpa.configuration",
    "mood_dpa.growing",
)

if __name__ == "__main__":
    from mood_dpa.cli import COMMANDS

    sys.exit(COMMANDS["train"](None))

"""See `mood_dpa.cli`; `python anomaly_detection/utils/data/create_folds.py --help` lists the flags."""

import sys

from mood_dpa.cli import folds_main

if __name__ == "__main__":
    sys.exit(folds_main())

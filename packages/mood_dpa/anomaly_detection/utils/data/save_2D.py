"""See `mood_dpa.cli`; `python anomaly_detection/utils/data/save_2D.py --help` lists the flags."""

import sys

from mood_dpa.cli import save_2d_main

if __name__ == "__main__":
    sys.exit(save_2d_main())

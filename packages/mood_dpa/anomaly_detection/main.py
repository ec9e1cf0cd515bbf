"""See `mood_dpa.cli`; `python anomaly_detection/main.py --help` lists the flags."""

import sys

from mood_dpa.cli import main_main

if __name__ == "__main__":
    sys.exit(main_main())

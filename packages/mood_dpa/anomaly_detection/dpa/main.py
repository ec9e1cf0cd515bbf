"""The same as `anomaly_detection/main.py`; see `mood_dpa.cli`."""

import sys

from mood_dpa.cli import main_main

if __name__ == "__main__":
    sys.exit(main_main())

"""See `know_your_space.cli`; `python ood_detection.py --help` lists the flags."""

import sys

from know_your_space.cli import detect_main

if __name__ == "__main__":
    sys.exit(detect_main())

"""See `imood.cli`; `python test.py --help` lists the flags."""

import sys

from imood.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())

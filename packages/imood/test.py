"""See `imood.cli`; `python test.py --help` lists the flags."""

import sys

from imood.cli import test_main

if __name__ == "__main__":
    sys.exit(test_main())

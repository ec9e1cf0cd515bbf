"""See `oodgen.cli`; `python test.py --help` lists the flags."""

import sys

from oodgen.cli import test_main

if __name__ == "__main__":
    sys.exit(test_main())

"""`python -m oodgen` is the console command `oodgen`."""

import sys

from oodgen.cli import main

if __name__ == "__main__":
    sys.exit(main())

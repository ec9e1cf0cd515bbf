"""`python -m imood` is the console command."""

import sys

from imood.cli import main

if __name__ == "__main__":
    sys.exit(main())

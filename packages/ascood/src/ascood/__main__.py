"""`python -m ascood` is the console command `ascood`."""

import sys

from ascood.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m mood_dpa` is the console command `mood-dpa`."""

import sys

from mood_dpa.cli import main

if __name__ == "__main__":
    sys.exit(main())

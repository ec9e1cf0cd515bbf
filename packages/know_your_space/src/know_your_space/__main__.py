"""`python -m know_your_space` is the console command."""

import sys

from know_your_space.cli import main

if __name__ == "__main__":
    sys.exit(main())

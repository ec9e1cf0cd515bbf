"""Train the calibrated classifier; see --help."""

import sys

from know_your_space.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())

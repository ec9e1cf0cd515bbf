"""See `mood_dpa.cli`; `--help` lists the flags."""

import sys

from mood_dpa.cli import synthetic_main

if __name__ == "__main__":
    sys.exit(synthetic_main())

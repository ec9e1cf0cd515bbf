"""See `ascood.cli`; `python scripts/download/download.py --help` lists the flags."""

import sys

from ascood.cli import download_main

if __name__ == "__main__":
    sys.exit(download_main())

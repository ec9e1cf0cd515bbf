"""See `ascood.cli`; `python main.py --help` lists the flags."""

import sys

from ascood.cli import main_main

if __name__ == "__main__":
    sys.exit(main_main())

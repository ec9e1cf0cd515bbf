"""See `oodgen.cli`; `python train_classi.py --help` lists the flags."""

import sys

from oodgen.cli import train_classi_main

if __name__ == "__main__":
    sys.exit(train_classi_main())

"""See `oodgen.cli`; `python train_vae.py --help` lists the flags."""

import sys

from oodgen.cli import train_vae_main

if __name__ == "__main__":
    sys.exit(train_vae_main())

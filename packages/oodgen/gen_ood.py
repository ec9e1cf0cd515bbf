"""See `oodgen.cli`; `python gen_ood.py --help` lists the flags."""

import sys

from oodgen.cli import gen_ood_main

if __name__ == "__main__":
    sys.exit(gen_ood_main())

"""See `ascood.cli`; `python scripts/eval_ood.py --help` lists the flags."""

import sys

from ascood.cli import eval_main

if __name__ == "__main__":
    sys.exit(eval_main())

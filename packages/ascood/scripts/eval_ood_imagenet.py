"""See `ascood.cli`; `python scripts/eval_ood_imagenet.py --help` lists the flags."""

import sys

from ascood.cli import imagenet_main

if __name__ == "__main__":
    sys.exit(imagenet_main())

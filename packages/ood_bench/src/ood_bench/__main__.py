"""`python -m ood_bench` is `ood-bench`."""

import sys

from ood_bench.command import main

if __name__ == "__main__":
    sys.exit(main())

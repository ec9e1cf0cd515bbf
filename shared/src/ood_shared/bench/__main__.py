"""`python -m ood_shared.bench` is `ood-bench`."""

import sys

from ood_shared.bench.command import main

if __name__ == "__main__":
    sys.exit(main())

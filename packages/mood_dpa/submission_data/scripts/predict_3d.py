"""See `mood_dpa.cli`; `python submission_data/scripts/predict_3d.py --help` lists the flags."""

import sys

from mood_dpa.cli import predict_main

if __name__ == "__main__":
    sys.exit(predict_main())

"""See `mood_dpa.cli`; `python anomaly_detection/utils/data/create_val_dataset_with_synthetic_anomalies.py --help` lists the flags."""

import sys

from mood_dpa.cli import synthetic_main

if __name__ == "__main__":
    sys.exit(synthetic_main())

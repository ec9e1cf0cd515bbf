#!/usr/bin/env bash
set -euo pipefail

python ./scripts/download/download.py \
    --contents datasets checkpoints \
    --datasets ood_v1.5 \
    --checkpoints ood_v1.5 \
    --save_dir ./data ./results \
    --dataset_mode benchmark "$@"

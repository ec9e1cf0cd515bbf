#!/usr/bin/env bash
set -euo pipefail

python scripts/eval_ood.py \
    --id-data cifar10 \
    --root ./results/cifar10_resnet18_32x32_base_e100_lr0.1_default \
    --postprocessor iodin \
    --save-score \
    --save-csv "$@"

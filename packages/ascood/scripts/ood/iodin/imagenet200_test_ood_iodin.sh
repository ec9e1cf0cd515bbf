#!/usr/bin/env bash
set -euo pipefail

python scripts/eval_ood.py \
    --id-data imagenet200 \
    --root ./results/imagenet200_resnet18_224x224_base_e90_lr0.1_default \
    --postprocessor iodin \
    --save-score \
    --save-csv "$@"

python scripts/eval_ood.py \
    --id-data imagenet200 \
    --root ./results/imagenet200_resnet18_224x224_base_e90_lr0.1_default \
    --postprocessor iodin \
    --save-score \
    --save-csv \
    --fsood "$@"

#!/usr/bin/env bash
set -euo pipefail

python scripts/eval_ood_imagenet.py \
    --tvs-pretrained \
    --arch resnet50 \
    --postprocessor iodin \
    --save-score \
    --save-csv "$@"

python scripts/eval_ood_imagenet.py \
    --tvs-pretrained \
    --arch resnet50 \
    --postprocessor iodin \
    --save-score \
    --save-csv \
    --fsood "$@"

#!/usr/bin/env bash
set -euo pipefail

source "$(dirname "$0")/../choose_root.sh"

published=./results/cars_ascood_net_ascood_e30_lr0.01_w1.0_p0.1_otype_gradient_nmg_0.1_0.1_default
case " $* " in
*" --root"*) root=$published ;;
*) root=$(choose_root "$published") || exit 2 ;;
esac
python scripts/eval_ood.py \
    --id-data cars \
    --wrapper-net ASCOODNet \
    --root "$root" \
    --postprocessor relation \
    --save-score \
    --save-csv "$@"

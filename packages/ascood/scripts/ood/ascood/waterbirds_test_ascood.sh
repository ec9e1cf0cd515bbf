#!/usr/bin/env bash
set -euo pipefail

source "$(dirname "$0")/../choose_root.sh"

published=./results/waterbirds_ascood_net_ascood_e30_lr0.01_w0.1_p0.1_otype_gradient_nmg_30.0_300.0_default
case " $* " in
*" --root"*) root=$published ;;
*) root=$(choose_root "$published") || exit 2 ;;
esac
python scripts/eval_ood.py \
    --id-data waterbirds \
    --wrapper-net ASCOODNet \
    --root "$root" \
    --postprocessor odin \
    --save-score \
    --save-csv "$@"

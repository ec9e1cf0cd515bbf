#!/usr/bin/env bash
set -euo pipefail

source "$(dirname "$0")/../choose_root.sh"

# Two published settings; after training there is only the first.
first=./results/celeba_ascood_net_ascood_e30_lr0.01_w1.0_p1.0_otype_gaussian_nmg_0.1_0.1_default
second=./results/celeba_ascood_net_ascood_e30_lr0.01_w1.0_p0.05_otype_gradient_nmg_30.0_50.0_default
trained=./results/celeba_ascood_net_ascood_e30_lr0.01_w1.0_p0.1_otype_gaussian_nmg_0.1_0.1_default

case " $* " in
*" --root"*) root=$first second= ;;
*) root=$(choose_root "$first" "$trained" "$second") || exit 2 ;;
esac
python scripts/eval_ood.py \
    --id-data celeba \
    --wrapper-net ASCOODNet \
    --root "$root" \
    --postprocessor odin \
    --save-score \
    --save-csv "$@"

if [ -d "$second" ] && [ "$root" != "$second" ]; then
    python scripts/eval_ood.py \
        --id-data celeba \
        --wrapper-net ASCOODNet \
        --root "$second" \
        --postprocessor odin \
        --save-score \
        --save-csv "$@"
fi

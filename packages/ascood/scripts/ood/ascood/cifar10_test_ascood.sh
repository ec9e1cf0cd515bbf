#!/usr/bin/env bash
set -euo pipefail

source "$(dirname "$0")/../choose_root.sh"

published=./results/cifar10_ascood_net_ascood_e100_lr0.1_w1.0_p0.2_otype_shuffle_nmg_1.0_1.0_random
trained=./results/cifar10_ascood_net_ascood_e100_lr0.1_w1.0_p0.15_otype_shuffle_nmg_30.0_300.0_default
case " $* " in
*" --root"*) root=$published ;;
*) root=$(choose_root "$published" "$trained") || exit 2 ;;
esac
python scripts/eval_ood.py \
    --id-data cifar10 \
    --wrapper-net ASCOODNet \
    --root "$root" \
    --postprocessor scale \
    --save-score \
    --save-csv "$@"

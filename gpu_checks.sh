#!/usr/bin/env bash
# The checks that need a CUDA device, from a bare checkout on a machine that brings its own torch:
#     bash gpu_checks.sh [FOLDER FOR RESULTS]
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-gpu-checks}
mkdir -p "$out"
packages="oodgen know_your_space imood ascood mood_dpa"
PYTHONPATH=$PWD/shared/src:$PWD/packages/ood_bench/src
for package in $packages; do PYTHONPATH=$PYTHONPATH:$PWD/packages/$package/src; done
export PYTHONPATH
python3 -c "import torch; assert torch.cuda.is_available(), 'no CUDA device'; print(torch.cuda.get_device_name())"
python3 -m pytest -q -m gpu shared/tests
for package in $packages; do
    python3 -m pytest -q -m gpu "packages/$package/tests"
    own=""
    if [ "$package" = ascood ]; then own="--postprocessor ebo"; fi  # the default asks for pytorch-ood
    for flags in "--precision fp32" "--precision bf16 --compile --backbone paper"; do
        python3 -m "$package.bench" --id digits --ood textures,faces,photos,letters,gaussian,uniform --device cuda \
            --budget smoke $flags $own --output-dir "$out/$package-$(tr -d " -" <<< "$flags")"
    done
done
python3 packages/know_your_space/benchmarks/bench_step.py --device cuda --output "$out/know_your_space-step.json"
python3 packages/imood/benchmarks/bench_methods.py --device cuda --out "$out/imood-speed.json"

# One detector, fitted on the device: its file must say the same of images there and on the CPU.
detect() { python3 -m ood_bench.detect_command "$@"; }
detect fit digits --budget smoke --no-check --device cuda --output "$out/digits.ood"
for device in cuda cpu; do detect score "$out/digits.ood" letters digits:test --device $device --csv "$out/scores-$device.csv"; done
python3 - "$out" <<'PY'
import csv
import sys

rows = [list(csv.DictReader(open(f"{sys.argv[1]}/scores-{device}.csv"))) for device in ("cuda", "cpu")]
apart = max(abs(float(a["score"]) - float(b["score"])) for a, b in zip(*rows, strict=True))
changed = sum(a["decision"] != b["decision"] for a, b in zip(*rows, strict=True))
print(f"{len(rows[0])} images: scores at most {apart:.2g} apart on both devices, {changed} decisions differ")
assert apart < 1e-2
assert changed <= 1
PY

#!/usr/bin/env bash
# The checks that need a CUDA device, from a bare checkout on a machine that brings its own torch:
#     bash gpu_checks.sh [FOLDER FOR RESULTS]
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-gpu-checks}
mkdir -p "$out"
export PYTHONPATH=$PWD/shared/src:$PWD/packages/oodgen/src
python3 -c "import torch; assert torch.cuda.is_available(), 'no CUDA device'; print(torch.cuda.get_device_name())"
python3 -m pytest -q -m gpu shared/tests packages/oodgen/tests
python3 -m oodgen.bench --id digits --ood textures,faces,photos,letters,gaussian,uniform,sphere --device cuda \
    --budget smoke --output-dir "$out/oodgen-fp32"
python3 -m oodgen.bench --id digits --ood textures,faces,photos,letters,gaussian,uniform,sphere --device cuda \
    --budget smoke --precision bf16 --compile --output-dir "$out/oodgen-bf16"

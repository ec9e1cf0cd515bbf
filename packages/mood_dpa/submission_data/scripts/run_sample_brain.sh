#!/bin/sh
# $1: folder with volumes, $2: folder for the results. WORKSPACE is /workspace in the container.
workspace=${WORKSPACE:-/workspace}
exec python "$workspace/predict_3d.py" -i "$1" -o "$2" -c "$workspace/configs/brain_sample.yaml" -m sample

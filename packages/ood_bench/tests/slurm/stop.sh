#!/usr/bin/env bash
# Ends the cluster that start.sh has made in FOLDER, and removes the folder:
#     bash stop.sh FOLDER
set -uo pipefail

if [ $# -ne 1 ] || [ ! -d "$1/munge" ]; then
    echo "usage: stop.sh FOLDER, one that start.sh has made" >&2
    exit 2
fi
folder=$(cd "$1" && pwd)
export SLURM_CONF="$folder/slurm.conf"
timeout 5 scancel --user root 2> /dev/null
for file in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/pid"; do
    [ -f "$file" ] && kill "$(cat "$file")" 2> /dev/null
done
sleep 1
# What has not ended: every program of this cluster has its configuration in its environment.
for file in $(grep -lszxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ); do
    process=$(basename "$(dirname "$file")")
    case $(cat "/proc/$process/comm" 2> /dev/null) in slurm*) kill -KILL "$process" 2> /dev/null ;; esac
done
rm -rf "$folder"

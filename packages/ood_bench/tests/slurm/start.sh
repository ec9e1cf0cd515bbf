#!/usr/bin/env bash
# A real SLURM cluster of two nodes, n1 and n2, on one Debian machine, as root:
#     bash start.sh FOLDER           # then: export SLURM_CONF=FOLDER/slurm.conf; sinfo
#     bash stop.sh FOLDER
# Configuration, keys, logs and state lie in FOLDER, which must not exist yet; its path must be short, as it holds
# sockets. Beside it only the packages slurm-wlm and munge stay on the machine: they are installed when they are missing.
set -euo pipefail

if [ $# -ne 1 ] || [ -e "$1" ]; then
    echo "usage: start.sh FOLDER, a path that does not exist yet" >&2
    exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "start.sh: must run as root: munged and slurmd change users" >&2
    exit 2
fi
install() ( # in a subshell, whose trap ends with it
    policy=/usr/sbin/policy-rc.d # the packages' services must not start: this script starts its own
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update > /dev/null
    apt-get install --yes --no-install-recommends slurm-wlm munge > /dev/null
)

for program in slurmctld slurmd sbatch munged; do
    if ! command -v $program > /dev/null; then
        echo "start.sh: $program is missing; installing slurm-wlm and munge" >&2
        install
    fi
done

mkdir -p "$1"/{munge,state}
folder=$(cd "$1" && pwd)
host=$(hostname -s)
here=$(cd "$(dirname "$0")" && pwd)
trap 'status=$?; [ $status -eq 0 ] || bash "$here/stop.sh" "$folder"; exit $status' EXIT
chmod 755 "$folder"

# Ports that are free now: one for slurmctld and one for each node.
read -r port port1 port2 < <(python3 - <<'PY'
import socket

sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PY
)

# munge, with a key, a socket and logs of its own, as the user munge.
dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
chmod 600 "$folder/munge/key"
chmod 711 "$folder/munge"
chown -R munge "$folder/munge"
if ! su -s /bin/sh munge -c "test -x '$folder'"; then
    echo "start.sh: the user munge cannot enter $folder; open the folders above it (chmod 755)" >&2
    exit 2
fi
su -s /bin/sh munge -c "munged --force --socket='$folder/munge/socket' --key-file='$folder/munge/key' \
    --pid-file='$folder/munge/pid' --log-file='$folder/munge/log' --seed-file='$folder/munge/seed'"

cat > "$folder/slurm.conf" <<CONF
ClusterName=ood
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=6
InactiveLimit=0
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=0
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/spool-%n
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port1 CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port2 CPUs=2 RealMemory=1000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld
for node in n1 n2; do slurmd -N "$node"; done

for _ in $(seq 60); do
    if [ "$(sinfo --noheader --states=idle --format=%D 2> /dev/null)" = 2 ]; then
        echo "export SLURM_CONF=$SLURM_CONF"
        exit 0
    fi
    sleep 0.5
done
echo "start.sh: the nodes did not come up" >&2
sinfo >&2 || true
tail -n 20 "$folder"/*.log >&2
exit 1

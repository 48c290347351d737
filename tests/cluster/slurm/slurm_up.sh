#!/usr/bin/env bash
# Start a private Slurm (munged, slurmctld, NODES x slurmd) on this machine: no systemd, no cgroups, nothing of the system's own.
#   RUN=DIR NODES=2 CPUS=4 MEM=8000 PORT=26817 ./slurm_up.sh     then: . DIR/env.sh
# PORT and the NODES ports after it are used. INSTALL=1 installs Debian's packages first. Needs root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RUN=${RUN:?a folder of its own} NODES=${NODES:-2} CPUS=${CPUS:-4} MEM=${MEM:-8000} PORT=${PORT:-26817}
say() { echo "slurm_up: $*"; }

if [ "${INSTALL:-0}" = 1 ] && ! command -v slurmctld >/dev/null; then
    made=0  # the packages' own services must not start
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        made=1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
    [ "$made" = 0 ] || rm -f /usr/sbin/policy-rc.d
fi

mkdir -p "$RUN"/{munge,state,spool}
chmod 755 "$RUN"
chmod 711 "$RUN/munge"
export SLURM_CONF=$RUN/slurm.conf
echo "export SLURM_CONF=$RUN/slurm.conf" >"$RUN/env.sh"
(umask 077 && head -c 128 /dev/urandom >"$RUN/munge/munge.key")
sed -e "s|@RUN@|$RUN|g; s|@HOST@|$(hostname -s)|g; s|@NODES@|$NODES|g; s|@CPUS@|$CPUS|g; s|@MEM@|$MEM|g" \
    -e "s|@PORT@|$PORT|g; s|@FIRST@|$((PORT + 1))|g; s|@LAST@|$((PORT + NODES))|g" "$here/slurm.conf.in" >"$SLURM_CONF"

# --force: root may run it
munged --force --key-file="$RUN/munge/munge.key" --socket="$RUN/munge/munge.socket" \
    --pid-file="$RUN/munge/munged.pid" --log-file="$RUN/munge/munged.log" --seed-file="$RUN/munge/munged.seed"
slurmctld -f "$SLURM_CONF" -c
for node in $(seq 1 "$NODES"); do
    mkdir -p "$RUN/spool/n$node"
    slurmd -f "$SLURM_CONF" -N "n$node"
done
for _ in $(seq 1 100); do
    up=$(sinfo -h -N -o '%N %T' 2>/dev/null | grep -c -E 'idle|mixed|allocated') || true
    if [ "${up:-0}" -ge "$NODES" ]; then
        say "up: $(sinfo -h -o '%P %D %T %c cpus %m MiB') $SLURM_CONF"
        exit 0
    fi
    sleep 0.3
done
say "nodes did not come up"
sinfo -N -l || true
tail -n 5 "$RUN"/*.log
exit 1

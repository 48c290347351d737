#!/usr/bin/env bash
# One job that holds everything: scheduler and driver on its first node, workers on all of them.
#   sbatch one_allocation.sh run.yaml
#SBATCH --job-name=xpcs-fit
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=1
#SBATCH --mem=36G
#SBATCH --time=01:00:00
#SBATCH --output=xpcs-fit-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --signal=B:TERM@180
set -euo pipefail
settings=${1:?usage: sbatch one_allocation.sh run.yaml}
interface=${XPCS_INTERFACE:-} # such as ib0; empty: what the host name leads to
scratch=${XPCS_SCRATCH:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}}
meeting=${XPCS_MEETING:-$PWD}/.xpcs-dask-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}.json # all nodes must see it

# The first node shares its memory among its workers, the scheduler and the driver; the others are held to the same.
tasks=${SLURM_NTASKS_PER_NODE:?}
limit=$((${SLURM_MEM_PER_NODE:?} * 9 / 10 / (tasks + 1)))MiB

# Numerics in one thread a process: there is a process for each core.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

network=(${interface:+--interface "$interface"})
scheme=()
if [[ -n ${XPCS_TLS:-} ]]; then # folder of deploy/tls/make_certificates.sh; all nodes must see it
    scheme=(--protocol tls)
    export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$XPCS_TLS/ca.pem
    for role in scheduler worker client; do
        export "DASK_DISTRIBUTED__COMM__TLS__${role^^}__CERT=$XPCS_TLS/$role.pem"
        export "DASK_DISTRIBUTED__COMM__TLS__${role^^}__KEY=$XPCS_TLS/$role.key"
    done
fi

# shellcheck disable=SC2317 # called by the trap
finish() {
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm -f -- "$meeting"
}
trap finish EXIT

dask scheduler --scheduler-file "$meeting" --port 0 --dashboard-address 127.0.0.1:0 "${network[@]}" "${scheme[@]}" &
scheduler=$!
for ((waited = 0; waited < 300; waited++)); do
    [[ ! -s $meeting ]] || break
    kill -0 "$scheduler" || exit 7
    sleep 0.2
done
[[ -s $meeting ]] || { echo "the scheduler wrote no $meeting within 60 s" >&2 && exit 7; }

srun --ntasks="$SLURM_NTASKS" --kill-on-bad-exit=0 \
    dask worker --scheduler-file "$meeting" --nworkers 1 --nthreads 1 --memory-limit "$limit" \
    --local-directory "$scratch" --death-timeout 60 --no-dashboard "${network[@]}" &

# The signal of --signal comes 180 s before the end: the driver ends with 75 and what is done is kept.
driver='' asked=''
trap 'asked=yes; [[ -z $driver ]] || kill -TERM "$driver" 2>/dev/null || true' TERM INT
xpcs-dask --log info run "$settings" --scheduler "file:$meeting" --cluster timeout=300 --progress none &
driver=$!
[[ -z $asked ]] || kill -TERM "$driver" 2>/dev/null || true
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do # a trap ends `wait` early
    code=0
    wait "$driver" || code=$?
done
[[ -z $asked ]] || ((code != 143)) || code=75 # it was asked before it could begin
if ((code == 75)); then
    echo "stopped before the end of the walltime; job $SLURM_JOB_ID is put into the queue again and goes on" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

#!/usr/bin/env bash
# One job that holds everything on ALCF Polaris: scheduler and driver on its first node, workers on all of them.
#   qsub -A PROJECT -v SETTINGS=run.yaml polaris.sh
#PBS -N xpcs-fit
#PBS -q preemptable
#PBS -l select=2:system=polaris
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -l filesystems=home:grand:eagle
#PBS -r y
#PBS -j oe
#PBS -k doe
set -euo pipefail
cd -- "${PBS_O_WORKDIR:?}"
settings=${SETTINGS:?usage: qsub -A PROJECT -v SETTINGS=run.yaml polaris.sh}
interface=${XPCS_INTERFACE:-bond0}
scratch=${XPCS_SCRATCH:-/local/scratch}
workers=${XPCS_WORKERS:-32} # on each node, one a core
limit=${XPCS_MEMORY:-12GiB} # of each worker; 32 of them leave the first node enough for the driver
seconds=${XPCS_SECONDS:-3300} # of work; the walltime less what starting and stopping take
meeting=$PWD/.xpcs-dask-${PBS_JOBID:?}-$$.json # all nodes must see it
mapfile -t nodes < <(sort -u "${PBS_NODEFILE:?}")

# shellcheck source=/dev/null
source "${XPCS_ENVIRONMENT:-$HOME/xpcs}/bin/activate"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

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

dask scheduler --scheduler-file "$meeting" --port 0 --dashboard-address 127.0.0.1:0 --interface "$interface" \
    "${scheme[@]}" &
scheduler=$!
for ((waited = 0; waited < 300; waited++)); do
    [[ ! -s $meeting ]] || break
    kill -0 "$scheduler" || exit 7
    sleep 0.2
done
[[ -s $meeting ]] || { echo "the scheduler wrote no $meeting within 60 s" >&2 && exit 7; }

# One process of mpiexec on each node starts all workers of it, which bind to no core (--cpu-bind none).
mpiexec -n "${#nodes[@]}" --ppn 1 --cpu-bind none \
    dask worker --scheduler-file "$meeting" --nworkers "$workers" --nthreads 1 --memory-limit "$limit" \
    --local-directory "$scratch" --death-timeout 60 --no-dashboard --interface "$interface" &

# A job that is preempted is ended without warning and, by -r y, starts again from here: what was done is kept.
# At the end of the walltime the driver is asked to stop: it ends with 75, and the next job goes on.
code=0
timeout --preserve-status --signal=TERM --kill-after=120 "$seconds" \
    xpcs-dask --log info run "$settings" --scheduler "file:$meeting" --cluster timeout=300 --progress none || code=$?
exit "$code"

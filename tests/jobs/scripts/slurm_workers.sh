#!/usr/bin/env bash
#SBATCH --job-name=xpcs-dask
#SBATCH --output="/data/run 7/fits.zarr.job/job.log"
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4096M
#SBATCH --time=01:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --no-requeue
#
# Written by `xpcs-dask submit`: fits into /data/run 7/fits.zarr, with the settings of job.yaml beside this file.
set -u
job='/data/run 7/fits.zarr.job'
python=/opt/xpcs/bin/python
cd '/data/run 7' || exit 1
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms

# A job may take several turns: a turn that is stopped before its walltime ends is followed by another, which goes on.
id="$SLURM_JOB_ID"
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
say() { echo "$(now) job $id: $*"; }
blocks() { find '/data/run 7/fits.zarr.unfinished' -path '*/ledger/[0-9]*.json' 2>/dev/null | wc -l; }
result() { # EXIT_CODE NEXT_JOB: how this turn ended, for `xpcs-dask status`
    printf '{"exit_code": %d, "job": "%s", "begun": "%s", "ended": "%s", "next": "%s"}\n' \
        "$1" "$id" "$begun" "$(now)" "$2" >"$job/.result.json"
    mv "$job/.result.json" "$job/result.json"
}
begun=$(now)
done_before=$(blocks)
rm -f "$job/result.json" # of an earlier turn
# The lock of a turn that was killed on another host is believed for 60 s.
for _ in {1..13}; do
    [[ -n $(find '/data/run 7/fits.zarr.unfinished/lock' -newermt '-60 seconds' 2>/dev/null) ]] || break
    sleep 5
done
say "begins on $(hostname), $done_before blocks are done"

outside() { # what is submitted from within a job must not inherit the size of that job
    local name
    for name in "${!SLURM_@}" "${!SBATCH_@}"; do
        [[ $name == SLURM_CONF ]] || unset "$name"
    done
    exec "$@"
}

outside "$python" -m xpcs_dask --log info run "$job/job.yaml" &

driver=$!
trap 'kill -TERM "$driver" 2>/dev/null' TERM
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do # a signal ends `wait`, not the driver
    wait "$driver"
    code=$?
done
((code == 143)) && code=75 # ended before it could tell
next=
result "$code" "$next"
say "exit code $code${next:+, job $next goes on}"
exit "$code"

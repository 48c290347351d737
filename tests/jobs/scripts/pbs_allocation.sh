#!/usr/bin/env bash
#PBS -N xpcs-dask
#PBS -j oe
#PBS -o /data/run7/fits.zarr.job/pbs.log
#PBS -q preemptable
#PBS -A beam
#PBS -l select=2:ncpus=16:mpiprocs=16:mem=76914MB
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -r y
#PBS -l filesystems=home:eagle
#
# Written by `xpcs-dask submit`: fits into /data/run7/fits.zarr, with the settings of job.yaml beside this file.
set -u
job=/data/run7/fits.zarr.job
python=/opt/xpcs/bin/python
cd /data || exit 1
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms

if [[ ${1-} == worker ]]; then # what the launcher starts: one worker process of one thread
    exec "$python" -m distributed.cli.dask_worker --scheduler-file "$job/scheduler.json" \
        --nworkers 1 --nthreads 1 --memory-limit 4294967296 --local-directory "${SLURM_TMPDIR:-${PBS_JOBFS:-${TMPDIR:-/tmp}}}" \
        --dashboard-address 127.0.0.1:0 --death-timeout 300 >>"$job/workers.log" 2>&1
fi

# A job may take several turns: a turn that is stopped before its walltime ends is followed by another, which goes on.
id="$PBS_JOBID"
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
say() { echo "$(now) job $id: $*"; }
blocks() { find /data/run7/fits.zarr.unfinished -path '*/ledger/[0-9]*.json' 2>/dev/null | wc -l; }
result() { # EXIT_CODE NEXT_JOB: how this turn ended, for `xpcs-dask status`
    printf '{"exit_code": %d, "job": "%s", "begun": "%s", "ended": "%s", "next": "%s"}\n' \
        "$1" "$id" "$begun" "$(now)" "$2" >"$job/.result.json"
    mv "$job/.result.json" "$job/result.json"
}
begun=$(now)
done_before=$(blocks)
stopped=no # by a signal
rm -f "$job/result.json" # of an earlier turn
exec >>"$job/job.log" 2>&1 # PBS itself brings what a job prints when it is over
# The lock of a turn that was killed on another host is believed for 60 s.
for _ in {1..13}; do
    [[ -n $(find /data/run7/fits.zarr.unfinished/lock -newermt '-60 seconds' 2>/dev/null) ]] || break
    sleep 5
done
say "begins on $(hostname), $done_before blocks are done"

another_turn() { # prints the id of the job that goes on; fails, and says why, where none does
    if [[ -e $job/cancelled ]]; then
        say "was cancelled" >&2
        return 1
    fi
    if (($(blocks) <= done_before)); then
        say "no block was finished in this turn, so there is no other: ask for a longer walltime, or smaller chunks" >&2
        return 1
    fi
    if [[ $stopped == yes ]]; then
        say "was ended by PBS" >&2
        return 1
    fi
    outside qsub "$job/job.sh" | cut -d ';' -f 1 | tee -a "$job/jobs.txt"
    return "${PIPESTATUS[0]}"
}

outside() { # what is submitted from within a job must not inherit the size of that job
    exec "$@"
}

rm -f "$job/scheduler.json" # of an earlier turn
"$python" -m distributed.cli.dask_scheduler --scheduler-file "$job/scheduler.json" --port 0 \
    --dashboard-address 127.0.0.1:0 >>"$job/scheduler.log" 2>&1 &
scheduler=$!
mpiexec -n 32 \
    /usr/bin/env bash "$job/job.sh" worker </dev/null >>"$job/workers.log" 2>&1 &
workers=$!
end_cluster() {
    kill "$scheduler" 2>/dev/null
    for _ in {1..20}; do # workers that lose their scheduler end, and remove what they spilled
        kill -0 "$workers" 2>/dev/null || return 0
        sleep 0.5
    done
    kill "$workers" 2>/dev/null
}

timeout --preserve-status --signal=TERM $((3480 - SECONDS)) "$python" -m xpcs_dask --log info run "$job/job.yaml" &

driver=$!
trap 'stopped=yes; kill -TERM "$driver" 2>/dev/null' TERM
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do # a signal ends `wait`, not the driver
    wait "$driver"
    code=$?
done
end_cluster
((code == 143)) && code=75 # ended before it could tell
next=
if ((code == 75)); then
    next=$(another_turn) || next=
fi
result "$code" "$next"
say "exit code $code${next:+, job $next goes on}"
exit "$code"

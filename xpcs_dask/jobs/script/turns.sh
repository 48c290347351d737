# A job may take several turns: a turn that is stopped before its walltime ends is followed by another, which goes on.
id={{ '"$SLURM_JOB_ID"' if system == "slurm" else '"$PBS_JOBID"' }}
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
say() { echo "$(now) job $id: $*"; }
blocks() { find {{ unfinished | sh }} -path '*/ledger/[0-9]*.json' 2>/dev/null | wc -l; }
result() { # EXIT_CODE NEXT_JOB: how this turn ended, for `xpcs-dask status`
    printf '{"exit_code": %d, "job": "%s", "begun": "%s", "ended": "%s", "next": "%s"}\n' \
        "$1" "$id" "$begun" "$(now)" "$2" >"$job/.result.json"
    mv "$job/.result.json" "$job/result.json"
}
begun=$(now)
done_before=$(blocks)
{% if system == "pbs" and requeue %}
stopped=no # by a signal
{% endif %}
rm -f "$job/result.json" # of an earlier turn
{% if system == "pbs" %}
exec >>"$job/job.log" 2>&1 # PBS itself brings what a job prints when it is over
{% endif %}
# The lock of a turn that was killed on another host is believed for {{ silence }} s.
for _ in {1..13}; do
    [[ -n $(find {{ lock | sh }} -newermt '-{{ silence }} seconds' 2>/dev/null) ]] || break
    sleep 5
done
say "begins on $(hostname), $done_before blocks are done"

{% if requeue %}
another_turn() { # prints the id of the job that goes on; fails, and says why, where none does
    if [[ -e $job/cancelled ]]; then
        say "was cancelled" >&2
        return 1
    fi
    if (($(blocks) <= done_before)); then
        say "no block was finished in this turn, so there is no other: ask for a longer walltime, or smaller chunks" >&2
        return 1
    fi
{% if system == "slurm" %}
    local state
    state=$(scontrol show job "$id" | grep -o 'JobState=[A-Z_]*')
    if [[ $state != JobState=RUNNING ]]; then # cancelled, or preempted and then requeued by Slurm itself
        say "was ended by Slurm ($state)" >&2
        return 1
    fi
    result 75 "$id" # now, since Slurm ends this script when it puts the job into the queue again
    say "exit code 75, asks Slurm to put this job into the queue again" >&2
    scontrol requeue "$id" >&2 && echo "$id" && return 0
{% else %}
    if [[ $stopped == yes ]]; then
        say "was ended by PBS" >&2
        return 1
    fi
{% endif %}
    outside {{ "sbatch --parsable" if system == "slurm" else "qsub" }} "$job/job.sh" | cut -d ';' -f 1 | tee -a "$job/jobs.txt"
    return "${PIPESTATUS[0]}"
}

{% endif %}
{% if requeue or mode == "workers" %}
outside() { # what is submitted from within a job must not inherit the size of that job
{% if system == "slurm" %}
    local name
    for name in "${!SLURM_@}" "${!SBATCH_@}"; do
        [[ $name == SLURM_CONF ]] || unset "$name"
    done
{% endif %}
    exec "$@"
}
{% endif %}

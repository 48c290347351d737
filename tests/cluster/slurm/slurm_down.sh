#!/usr/bin/env bash
# Stop what slurm_up.sh started in RUN: by pid file, each checked against its command line. May be called again.
set -uo pipefail
RUN=${RUN:?the folder of slurm_up.sh}
export SLURM_CONF=$RUN/slurm.conf

pid_of() {  # pid_of FILE WORD: the process, if it runs and is ours
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2" && echo "$pid"
}

end() {  # end FILE WORD
    local pid
    pid=$(pid_of "$1" "$2") || return 0
    kill "$pid" 2>/dev/null
    for _ in $(seq 1 50); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null
    echo "slurm_down: had to kill $pid ($2)"
}

if pid_of "$RUN/slurmctld.pid" slurmctld >/dev/null; then
    timeout 10 scancel --full -u "$(id -un)" 2>/dev/null  # --full: the shell of the job too
    for _ in $(seq 1 40); do
        [ -z "$(timeout 5 squeue -h -t running,completing 2>/dev/null)" ] && break
        sleep 0.25
    done
fi
for file in "$RUN"/slurmd-*.pid; do
    [ -e "$file" ] && end "$file" slurmd
done
end "$RUN/slurmctld.pid" slurmctld
end "$RUN/munge/munged.pid" munged
echo "slurm_down: done"

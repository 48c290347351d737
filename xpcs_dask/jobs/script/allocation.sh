rm -f "$job/scheduler.json" # of an earlier turn
"$python" -m distributed.cli.dask_scheduler --scheduler-file "$job/scheduler.json" --port 0 \
    --dashboard-address 127.0.0.1:0{{ scheduler_options }} >>"$job/scheduler.log" 2>&1 &
scheduler=$!
{{ launch }} \
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

{{ timer }}"$python" -m xpcs_dask --log info run "$job/job.yaml" &

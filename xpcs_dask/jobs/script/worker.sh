if [[ ${1-} == worker ]]; then # what the launcher starts: one worker process of one thread
    exec "$python" -m distributed.cli.dask_worker --scheduler-file "$job/scheduler.json" \
        --nworkers 1 --nthreads 1 --memory-limit {{ worker_bytes }} --local-directory {{ spill }} \
        --dashboard-address 127.0.0.1:0 --death-timeout {{ patience }}{{ worker_options }} >>"$job/workers.log" 2>&1
fi

outside {{ timer }}"$python" -m xpcs_dask --log info run "$job/job.yaml" &

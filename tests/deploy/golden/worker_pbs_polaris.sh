#!/usr/bin/env bash

#PBS -N xpcs-dask-worker
#PBS -q preemptable
#PBS -A PROJECT
#PBS -l select=1:ncpus=32:mem=436907MB
#PBS -l walltime=01:00:00
#PBS -e FOLDER/xpcs-dask-logs/
#PBS -o FOLDER/xpcs-dask-logs/
#PBS -l filesystems=home:grand:eagle
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
source "$HOME/xpcs/bin/activate"

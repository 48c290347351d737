#!/usr/bin/env bash

#SBATCH -J xpcs-dask-worker
#SBATCH -e FOLDER/xpcs-dask-logs/xpcs-dask-worker-%J.err
#SBATCH -o FOLDER/xpcs-dask-logs/xpcs-dask-worker-%J.out
#SBATCH -p compute
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=36409M
#SBATCH -t 02:00:00
#SBATCH --constraint=cpu
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
module purge
source "$HOME/xpcs/bin/activate"

#!/usr/bin/env bash
# All files of a folder on one node, in one job: no array of jobs, no Dask cluster, only processes.
#   sbatch one_node.sh results fits.zarr
#SBATCH --job-name=xpcs-fit
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=01:00:00
#SBATCH --output=xpcs-fit-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail
inputs=${1:?usage: sbatch one_node.sh INPUTS OUTPUT}
output=${2:?usage: sbatch one_node.sh INPUTS OUTPUT}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# With exec the signal of --signal reaches the program: it ends with 75, and the same command goes on.
exec xpcs-dask fit "$inputs" -o "$output" --model single --progress none \
    --scheduler "processes:${SLURM_CPUS_PER_TASK:?}" --memory "$((${SLURM_MEM_PER_NODE:?} * 8 / 10))MiB"

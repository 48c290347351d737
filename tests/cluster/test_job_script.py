"""Scripts of worker jobs, whole: what dask-jobqueue makes of a profile."""

from __future__ import annotations

import builtins
import sys

import pytest

from xpcs_dask.cluster.job_script import log_folder, logs_of, worker_script
from xpcs_dask.cluster.profile import read_profile
from xpcs_dask.errors import ConfigError

ENVIRONMENT = """\
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
"""
SLURM = """\
#!/usr/bin/env bash

#SBATCH -J xpcs-dask-worker
#SBATCH -e {folder}/logs/xpcs-dask-worker-%J.err
#SBATCH -o {folder}/logs/xpcs-dask-worker-%J.out
#SBATCH -p regular
#SBATCH -A m1234
#SBATCH -n 1
#SBATCH --cpus-per-task=4
#SBATCH --mem=18205M
#SBATCH -t 01:00:00
#SBATCH --constraint=cpu
{environment}module load python
/opt/python -m distributed.cli.dask_worker tcp://10.0.0.1:8786 --name xpcs-1 --nthreads 1 --memory-limit 4.00GiB \
--nworkers 4 --nanny --death-timeout 60 --local-directory "/nvme/$USER" --lifetime 3306s --lifetime-stagger 174s \
--dashboard-address 127.0.0.1:0 --interface hsn0
"""
PBS = """\
#!/usr/bin/env bash

#PBS -N xpcs-dask-worker
#PBS -q preemptable
#PBS -A m1234
#PBS -l walltime=01:00:00
#PBS -e {folder}/logs/
#PBS -o {folder}/logs/
#PBS -l select=1:system=polaris
#PBS -l filesystems=home:eagle
{environment}/opt/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name xpcs-1 --nthreads 1 \
--memory-limit 4.00GiB --nanny --death-timeout 60 \
--local-directory "${{SLURM_TMPDIR:-${{PBS_JOBFS:-${{TMPDIR:-/tmp}}}}}}" --lifetime 3306s --lifetime-stagger 174s \
--dashboard-address 127.0.0.1:0 --protocol tls:// --tls-ca-file /tls/ca.pem --tls-cert /tls/w.pem --tls-key /tls/w.key
"""
SETTINGS = {"python": "/opt/python", "account": "m1234", "walltime": "01:00:00", "log_directory": "logs"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(found, expected, folder):
    assert found.splitlines() == expected.format(folder=folder, environment=ENVIRONMENT).splitlines()


def test_slurm(here):
    settings = {"queue": "regular", "processes": 4, "prologue": "module load python", "interface": "hsn0"}
    more = {"directives": ["--constraint=cpu"], "local_directory": "/nvme/$USER"}
    profile = read_profile("slurm", SETTINGS | settings | more)
    same(worker_script(profile, "tcp://10.0.0.1:8786", "xpcs-1"), SLURM, here)


def test_pbs_with_a_select_of_its_own_and_tls(here):
    from distributed import Security

    more = {"directives": "-l select=1:system=polaris\n-l filesystems=home:eagle", "directives_skip": "select="}
    profile = read_profile("pbs", SETTINGS | {"queue": "preemptable"} | more)
    files = {"tls_ca_file": "/tls/ca.pem", "tls_worker_cert": "/tls/w.pem", "tls_worker_key": "/tls/w.key"}
    security = Security(require_encryption=True, **files)
    same(worker_script(profile, "tls://10.0.0.1:8786", "xpcs-1", security), PBS, here)


def test_pbs_asks_for_cores_and_memory():
    script = worker_script(read_profile("pbs", {"processes": 2, "memory": "9GiB"}), "tcp://a:1", "x")
    assert "#PBS -l select=1:ncpus=2:mem=20480MB\n" in script


def test_a_python_with_blanks_stays_one_word():
    script = worker_script(read_profile("slurm", {"python": "/my env/python"}), "tcp://a:1", "x")
    assert "\n'/my env/python' -m distributed.cli.dask_worker tcp://a:1" in script


def test_logs_are_where_the_directives_say(here):
    slurm, pbs = (read_profile(name, {"log_directory": "logs"}) for name in ("slurm", "pbs"))
    assert logs_of(slurm, "12")[0] == here / "logs" / "xpcs-dask-worker-12.err"
    assert logs_of(pbs, "12.host")[0] == here / "logs" / "12.host.ER"


def test_a_folder_of_logs_that_cannot_be(here, monkeypatch):
    (here / "file").write_text("")
    with pytest.raises(ConfigError, match=r"log_directory .*file/logs cannot be made"):
        log_folder(read_profile("slurm", {"log_directory": "file/logs"}))
    (here / "with blank").mkdir()
    monkeypatch.chdir(here / "with blank")
    with pytest.raises(ConfigError, match="has blanks"):
        log_folder(read_profile("slurm"))


def test_without_dask_jobqueue_it_is_said_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("dask_jobqueue"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("dask_jobqueue")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'xpcs-dask\[hpc\]'"):
        worker_script(read_profile("slurm"), "tcp://a:1", "x")

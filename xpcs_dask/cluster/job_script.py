"""The script of a worker job, as dask-jobqueue renders it."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from xpcs_dask.cluster.connection import LOCAL_DASHBOARD, ONE_THREAD, QUIET
from xpcs_dask.cluster.profile import Profile
from xpcs_dask.errors import ConfigError

__all__ = ["JOB_NAME", "environment", "log_folder", "logs_of", "worker_script"]

JOB_NAME = "xpcs-dask-worker"
DEATH_TIMEOUT = 60
"""Seconds after which a worker that finds no scheduler ends its job."""


def worker_script(profile: Profile, address: str, name: str, security: Any = None) -> str:
    """Render the script of one job of workers.

    Parameters
    ----------
    profile
        What is asked for.
    address
        Of the scheduler.
    name
        Of the worker; with several processes these are NAME-0, NAME-1, ...
    security
        `distributed.Security` with files that the nodes see, or None.

    Raises
    ------
    ConfigError
        dask-jobqueue is not installed, or the folder of logs cannot stand in a directive.
    """
    try:
        from dask_jobqueue.pbs import PBSJob
        from dask_jobqueue.slurm import SLURMJob
    except ImportError:
        raise ConfigError(
            f"scheduler '{profile.system}' needs dask-jobqueue, which is not installed: pip install 'xpcs-dask[hpc]'"
        ) from None
    mebibytes = math.ceil(profile.job_bytes / 2**20)
    special: dict[str, Any] = {"job_cpu": profile.processes, "job_mem": f"{mebibytes}M"}
    if profile.system == "pbs":
        special = {"resource_spec": f"select=1:ncpus={profile.processes}:mem={mebibytes}MB"}
    job = (PBSJob if profile.system == "pbs" else SLURMJob)(
        address,
        name=name,
        cores=profile.processes,
        memory=f"{profile.processes * profile.worker_bytes}B",
        processes=profile.processes,
        nanny=True,
        protocol="tls://" if security else None,
        security=security,
        interface=profile.interface,
        death_timeout=DEATH_TIMEOUT,
        local_directory=profile.spill,
        worker_command="distributed.cli.dask_worker",
        worker_extra_args=[
            "--lifetime",
            f"{profile.lifetime - profile.stagger:.0f}s",
            "--lifetime-stagger",
            f"{profile.stagger:.0f}s",
            "--dashboard-address",
            LOCAL_DASHBOARD,
        ],
        job_extra_directives=list(profile.directives),
        job_script_prologue=[*environment(), *profile.prologue],
        job_directives_skip=list(profile.directives_skip),
        log_directory=str(log_folder(profile)),
        shebang="#!/usr/bin/env bash",
        python=shlex.quote(profile.python),
        job_name=JOB_NAME,
        queue=profile.queue,
        account=profile.account,
        walltime=profile.walltime,
        **special,
    )
    return str(job.job_script())


def environment() -> list[str]:
    """Lines of the shell that hold for worker processes: one thread each for the numerics, and little sampling."""
    threads = [f"export {name}=1" for name in ONE_THREAD]
    return threads + [f"export DASK_{key.replace('.', '__').upper()}={value}" for key, value in QUIET.items()]


def log_folder(profile: Profile) -> Path:
    """Return the folder of the logs of jobs, made and absolute."""
    folder = Path(profile.log_directory).absolute()
    if len(str(folder).split()) != 1:
        raise ConfigError(f"log_directory {folder} has blanks, with which directives cannot do; choose another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"log_directory {folder} cannot be made: {error.strerror}") from None
    return folder


def logs_of(profile: Profile, job: str) -> list[Path]:
    """Return where a worker job writes, what matters more first."""
    folder = log_folder(profile)
    if profile.system == "pbs":
        return [folder / f"{job}.ER", folder / f"{job}.OU"]
    return [folder / f"{JOB_NAME}-{job}.err", folder / f"{JOB_NAME}-{job}.out"]

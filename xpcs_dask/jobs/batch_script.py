"""The script of a job that fits: one shell script that the batch system starts, and that goes on by itself."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from xpcs_dask.cluster.job_script import environment
from xpcs_dask.cluster.profile import WORKER_SHARE, Profile
from xpcs_dask.engine.lock import SILENCE
from xpcs_dask.errors import ConfigError
from xpcs_dask.results.run import Unfinished

__all__ = ["JOB_NAME", "WORKERS_TIMEOUT", "Mode", "Place", "render"]

Mode: TypeAlias = Literal["allocation", "workers"]
"""allocation: one job holds driver, scheduler and workers; workers: it holds the driver, which submits worker jobs."""

JOB_NAME = "xpcs-dask"
WORKERS_TIMEOUT = 300
"""Seconds that scheduler and workers of one allocation have to find each other."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Where things of one job are, all absolute."""

    output: Path
    start: Path
    """Folder in which the job starts, for relative paths of its settings."""

    @property
    def folder(self) -> Path:
        """What belongs to the job: beside the output, named after it."""
        return self.output.with_name(f"{self.output.name}.job")


def render(profile: Profile, mode: str, place: Place) -> str:
    """Write the script.

    Parameters
    ----------
    profile
        What is asked of the batch system.
    mode
        ``allocation`` or ``workers`` (`Mode`).
    place
        Output and folder of the start.

    Raises
    ------
    ConfigError
        There are more nodes than workers, or a path cannot stand in a directive.
    """
    import jinja2

    if mode not in get_args(Mode):
        raise ConfigError(f"mode '{mode}' is not known; choose {' or '.join(get_args(Mode))}")
    if mode == "allocation" and profile.nodes > profile.workers:
        raise ConfigError(f"{profile.workers} workers cannot fill {profile.nodes} nodes; ask for more workers")
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("xpcs_dask.jobs", "script"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["sh"] = lambda value: shlex.quote(str(value))
    unfinished = Unfinished(place.output).folder
    return templates.get_template("job.sh").render(
        directives=_directives(profile, mode, place),
        system=profile.system,
        mode=mode,
        output=place.output,
        folder=place.folder,
        start=place.start,
        unfinished=unfinished,
        lock=unfinished / "lock",
        silence=round(SILENCE),
        python=profile.python,
        prologue=[*environment(), *profile.prologue],
        requeue=profile.requeue,
        timer=_timer(profile),
        patience=WORKERS_TIMEOUT,
        launch=_launch(profile),
        worker_bytes=profile.worker_bytes,
        spill=profile.spill,
        worker_options=_options(profile, profile.interface),
        scheduler_options=_options(profile, profile.scheduler_interface or profile.interface),
    )


def _directives(profile: Profile, mode: str, place: Place) -> list[str]:
    from dask.utils import parse_bytes

    together = mode == "allocation"
    nodes, workers = (profile.nodes, profile.workers) if together else (1, 1)
    there = math.ceil(workers / nodes)
    mebibytes = math.ceil(parse_bytes(profile.driver_memory) / MIB)
    if together:
        mebibytes += math.ceil(there * profile.worker_bytes / WORKER_SHARE / MIB)
    make = _slurm if profile.system == "slurm" else _pbs
    found = [*make(profile, nodes, workers, there, mebibytes, place.folder), *profile.directives]
    word = "#SBATCH" if profile.system == "slurm" else "#PBS"
    return [f"{word} {line}" for line in found if not any(skip in line for skip in profile.directives_skip)]


def _slurm(profile: Profile, nodes: int, tasks: int, there: int, mebibytes: int, folder: Path) -> list[str]:
    log = str(folder / "job.log").replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return [
        f"--job-name={JOB_NAME}",
        f'--output="{log}"',
        "--open-mode=append",
        *([f"--partition={profile.queue}"] if profile.queue else []),
        *([f"--account={profile.account}"] if profile.account else []),
        f"--nodes={nodes}",
        f"--ntasks={tasks}",
        f"--ntasks-per-node={there}",
        "--cpus-per-task=1",
        f"--mem={mebibytes}M",
        f"--time={profile.walltime}",
        *([f"--signal=B:TERM@{profile.margin:.0f}"] if profile.margin >= 1 else []),
        "--requeue" if profile.requeue else "--no-requeue",
    ]


def _pbs(profile: Profile, nodes: int, tasks: int, there: int, mebibytes: int, folder: Path) -> list[str]:
    if re.search(r"[\s,:'\"]", str(folder)):
        raise ConfigError(
            f"PBS takes no blank, comma, colon or quote in the path of a log: {folder}; rename the output"
        )
    return [
        f"-N {JOB_NAME}",
        "-j oe",
        f"-o {folder / 'pbs.log'}",
        *([f"-q {profile.queue}"] if profile.queue else []),
        *([f"-A {profile.account}"] if profile.account else []),
        f"-l select={nodes}:ncpus={there}:mpiprocs={there}:mem={mebibytes}MB",
        *(["-l place=scatter"] if nodes > 1 else []),
        f"-l walltime={profile.walltime}",
        f"-r {'y' if profile.requeue else 'n'}",
    ]


def _timer(profile: Profile) -> str:
    """Return what stops the driver before the walltime ends; Slurm does that itself."""
    if profile.system == "slurm" or profile.margin < 1:
        return ""
    return f"timeout --preserve-status --signal=TERM $(({profile.lifetime:.0f} - SECONDS)) "


def _launch(profile: Profile) -> str:
    """Command that starts something once for each worker."""
    program = Path(shlex.split(profile.launcher)[0]).name
    if program == "srun":
        there = math.ceil(profile.workers / profile.nodes)
        size = f"--nodes={profile.nodes} --ntasks={profile.workers} --ntasks-per-node={there}"
        return f"{profile.launcher} {size} --kill-on-bad-exit=0 --wait=0"
    if program == "pbsdsh":  # once for each line of $PBS_NODEFILE
        return f"{profile.launcher} --"
    return f"{profile.launcher} -n {profile.workers}"


def _options(profile: Profile, interface: str | None) -> str:
    found: dict[str, Any] = {"--interface": interface}
    if profile.tls:
        files = {name: str(Path(path).expanduser().absolute()) for name, path in profile.tls.items()}
        found |= {"--protocol": "tls://", "--tls-ca-file": files["ca"], "--tls-cert": files["cert"]}
        found["--tls-key"] = files["key"]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in found.items() if value)

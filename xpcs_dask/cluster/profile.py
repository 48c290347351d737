"""What a batch system is asked for: a profile, read from Dask's configuration and from flags."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from xpcs_dask.cluster.batch import System
from xpcs_dask.cluster.configuration import checked, flags_of, made, section
from xpcs_dask.cluster.settings import Memory, Tls
from xpcs_dask.config import Settings
from xpcs_dask.errors import ConfigError

__all__ = ["WORKER_SHARE", "Profile", "read_profile"]

WORKER_SHARE = 0.9
"""Of the job's memory that its workers may take: their nanny ends and restarts them before the system ends the job."""
LAUNCHERS = {"slurm": "srun", "pbs": "mpiexec"}
OF_JOBQUEUE = {
    "queue": "queue",
    "account": "account",
    "walltime": "walltime",
    "interface": "interface",
    "python": "python",
    "processes": "processes",
    "local-directory": "local_directory",
    "log-directory": "log_directory",
    "job-script-prologue": "prologue",
    "job-extra-directives": "directives",
    "job-directives-skip": "directives_skip",
}
"""Settings of dask-jobqueue that are taken over where a profile says nothing."""


class Profile(Settings):
    """What is asked of a batch system, and how workers are started there (docs/cluster.md)."""

    name: str
    system: System
    workers: int = Field(default=4, ge=1)
    """Worker processes in all, of one thread each."""
    processes: int = Field(default=1, ge=1)
    """Worker processes in one job."""
    memory: Memory = "4GiB"
    """Limit of one worker process; the job is asked for more (`job_bytes`)."""
    walltime: str = "00:30:00"
    """Of one job, HH:MM:SS."""
    queue: str | None = None
    """Partition (Slurm) or queue (PBS)."""
    account: str | None = None
    nodes: int = Field(default=1, ge=1)
    """Nodes of the one allocation that `submit` asks for."""
    interface: str | None = None
    """Network interface of the workers."""
    scheduler_interface: str | None = None
    """Network interface of the scheduler; None: as the workers."""
    local_directory: str | None = None
    """Where workers spill, on a disk of their own; None: $SLURM_TMPDIR, $PBS_JOBFS, $TMPDIR or /tmp there."""
    log_directory: str = "xpcs-dask-logs"
    """Folder of the logs of jobs."""
    python: str = Field(default_factory=lambda: sys.executable)
    """Command of Python on the nodes."""
    prologue: tuple[str, ...] = ()
    """Lines of the shell before the workers start, such as ``module load``."""
    directives: tuple[str, ...] = ()
    """More #SBATCH or #PBS lines, without that word."""
    directives_skip: tuple[str, ...] = ()
    """Directives that hold one of these texts are left out, such as ``--mem``."""
    requeue: bool = True
    """A job of `submit` that was ended goes on by itself."""
    tls: Tls = None
    """Files of TLS (PEM): ca, cert and key."""
    task_seconds: float = Field(default=60, gt=0, allow_inf_nan=False)
    """The longest block that is expected, s."""
    margin: float = Field(default=120, ge=0, allow_inf_nan=False)
    """How long before the end of the walltime work stops, s."""
    queue_timeout: float = Field(default=3600, gt=0)
    """How long to wait in the queue for workers, s."""
    failures: int = Field(default=3, ge=1)
    """Worker jobs that may fail one after the other before the run is given up."""
    driver_memory: Memory = "4GiB"
    """Of the process that opens the files and hands out the work, where it runs in a job."""
    launcher: str = ""
    """What starts the workers in one allocation: srun (Slurm) or mpiexec (PBS), with its options."""

    @model_validator(mode="before")
    @classmethod
    def _launcher_of_the_system(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and not values.get("launcher"):
            return {**values, "launcher": LAUNCHERS.get(str(values.get("system")), "")}
        return values

    @field_validator("prologue", "directives", "directives_skip", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        return tuple(value.splitlines()) if isinstance(value, str) else () if value is None else value

    @field_validator("walltime", mode="before")
    @classmethod
    def _clock(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:  # YAML reads 01:00:00 as 3600
            return f"{value // 3600:02d}:{value // 60 % 60:02d}:{value % 60:02d}"
        found = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", value) if isinstance(value, str) else None
        if not found:
            raise ValueError(f"'{value}' is not of the form HH:MM:SS")
        return f"{24 * int(found[1] or 0) + int(found[2]):02d}:{found[3]}:{found[4]}"

    @field_validator("log_directory")
    @classmethod
    def _one_word(cls, value: str) -> str:
        if not value or re.search(r"[\s%'\"]", value):
            raise ValueError(f"'{value}' cannot stand in a directive; give a path without blanks, quotes and %")
        return value

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.lifetime < self.task_seconds:
            raise ValueError(
                f"walltime {self.walltime} less margin ({self.margin:g} s) leaves workers {self.lifetime:g} s, but one "
                f"block may take task_seconds = {self.task_seconds:g} s; ask for a longer walltime"
            )
        return self

    @property
    def seconds(self) -> int:
        """Walltime in s."""
        hours, minutes, seconds = self.walltime.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + int(seconds)

    @property
    def lifetime(self) -> float:
        """Seconds after which work in a job stops."""
        return self.seconds - self.margin

    @property
    def stagger(self) -> float:
        """Half the time over which the ends of workers are spread, so that not all end at once; s."""
        return min(0.1 * self.lifetime, self.lifetime - self.task_seconds) / 2

    @property
    def jobs(self) -> int:
        """How many worker jobs there are."""
        return math.ceil(self.workers / self.processes)

    @property
    def worker_bytes(self) -> int:
        """Limit of one worker process."""
        from dask.utils import parse_bytes

        return int(parse_bytes(self.memory))

    @property
    def job_bytes(self) -> int:
        """What one worker job is asked for."""
        return math.ceil(self.processes * self.worker_bytes / WORKER_SHARE)

    @property
    def spill(self) -> str:
        """`local_directory` as a word for the shell of a job, where variables are known."""
        place = self.local_directory or "${SLURM_TMPDIR:-${PBS_JOBFS:-${TMPDIR:-/tmp}}}"
        return '"' + re.sub(r'(["\\`])', r"\\\1", place) + '"'


def read_profile(spec: str, changes: Mapping[str, object] | None = None) -> Profile:
    """Read a profile, and put `changes` on top.

    Parameters
    ----------
    spec
        ``slurm``, ``pbs``, ``slurm:NAME``, ``pbs:NAME``, or ``NAME`` of a profile that names its system. A profile is
        ``xpcs_dask.profiles.NAME`` in Dask's configuration (a file ``xpcs_dask.yaml`` where Dask reads its own);
        a system without one has defaults. What a profile leaves open is taken from ``jobqueue.SYSTEM``.
    changes
        Keys and values, texts as well, with ``-`` or ``_``; ``tls.ca`` is the key ca in tls.

    Raises
    ------
    ConfigError
        There is no such profile, it has an unknown key, or a value makes no sense; the message names the file.
    """
    system, _, name = spec.rpartition(":")
    of_profile = section("profiles", name)
    if system not in ("", *LAUNCHERS) or not name:
        raise ConfigError(f"profile '{spec}' is not known; give slurm, pbs, slurm:NAME or pbs:NAME")
    if of_profile is None and name not in LAUNCHERS:
        known = ", ".join(sorted((section("profiles") or {}).keys())) or "none"
        raise ConfigError(
            f"there is no profile '{name}' (known: {known}); describe it as xpcs_dask.profiles.{name} in a file "
            "xpcs_dask.yaml in ~/.config/dask, or in the folder that DASK_CONFIG names"
        )
    values, known_keys = of_profile or {}, [key for key in Profile.model_fields if key != "name"]
    checked(values, known_keys, f"profile '{name}'", ("profiles", name))
    flags = flags_of(changes)
    checked(flags, known_keys, "cluster", None)
    stated = flags.get("system") or values.get("system") or system or (name if name in LAUNCHERS else "")
    if not stated:
        raise ConfigError(f"profile '{name}' does not say its system; add 'system: slurm' or 'system: pbs'")
    if system and stated != system:
        raise ConfigError(f"profile '{name}' is one of {stated}, not of {system}")
    tls = {**(values.get("tls") or {}), **(flags.get("tls") or {})} or None
    merged = {**_of_jobqueue(str(stated)), **values, **flags, "tls": tls, "system": stated, "name": name}
    # An empty value in a file takes back what dask-jobqueue has.
    given = {
        key: value for key, value in merged.items() if value is not None or Profile.model_fields[key].default is None
    }
    return made(Profile, given, flags, f"profile '{name}'", ("profiles", name))


def _of_jobqueue(system: str) -> dict[str, Any]:
    """Take over what is set for dask-jobqueue; its own defaults are there when it is installed."""
    import importlib

    import dask

    with suppress(ImportError):
        importlib.import_module("dask_jobqueue.config")
    found = dask.config.get(f"jobqueue.{system}", None) or {}
    taken = {field: found.get(key, found.get(key.replace("-", "_"))) for key, field in OF_JOBQUEUE.items()}
    taken["scheduler_interface"] = (found.get("scheduler-options") or {}).get("interface")
    return {field: value for field, value in taken.items() if value is not None and value != []}

"""What a batch system is asked: to take a script, to say how its jobs are, to end them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from xpcs_dask.errors import ConfigError, SchedulerError

__all__ = ["JobState", "Pbs", "Queue", "Slurm", "State", "System", "log_tail", "queue_of"]

System: TypeAlias = Literal["slurm", "pbs"]
State: TypeAlias = Literal["pending", "running", "ended", "failed", "unknown"]

PATIENCE = 60.0
"""Seconds that a command of the batch system may take; a busy controller makes its clients wait."""
KILLED = 256
"""PBS adds this to the number of the signal that ended a job."""
PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
FAILED = {
    *("FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "CANCELLED", "PREEMPTED", "REVOKED")
}


@dataclass(frozen=True, slots=True)
class JobState:
    """How one job is, in five words of ours and in the queue's own."""

    state: State
    word: str = ""
    """Of the queue: PENDING, TIMEOUT, ...; one letter with PBS."""
    reason: str = ""
    """Why it waits or failed, as the queue says it."""
    exit_code: int | None = None

    @property
    def over(self) -> bool:
        """Whether the job will do nothing more."""
        return self.state in ("ended", "failed")

    @property
    def cancelled(self) -> bool:
        """Whether somebody ended it."""
        by_signal = self.exit_code is not None and self.exit_code > KILLED
        return self.word == "CANCELLED" or (self.word == "F" and by_signal)


class Queue(Protocol):
    """A batch system."""

    system: System

    def submit(self, script: Path, folder: Path) -> str:
        """Hand in a script that starts in `folder`; returns the job id, raises `SchedulerError` if it is refused."""
        ...

    def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """Return how the jobs are; unknown where the queue has forgotten them, `SchedulerError` if it is silent."""
        ...

    def cancel(self, ids: Sequence[str]) -> None:
        """End the jobs, waiting and running ones; those that are over already do not matter."""
        ...


def queue_of(system: str) -> Queue:
    """Return the batch system of that name; raises `ConfigError` for others than slurm and pbs."""
    if system == "slurm":
        return Slurm()
    if system == "pbs":
        return Pbs()
    raise ConfigError(f"batch system '{system}' is not known; choose slurm or pbs")


class Slurm:
    """Slurm through its own programs."""

    system: System = "slurm"

    def submit(self, script: Path, folder: Path) -> str:
        """Hand in a script, as `Queue`."""
        said = _checked(["sbatch", "--parsable", str(script)], folder)
        found = said.split(";")[0].strip()  # ID or ID;CLUSTER
        if not re.fullmatch(r"\d+(_\d+)?", found):
            raise SchedulerError(f"sbatch took {script}, but tells no job id: {_line(said)}")
        return found

    def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """Ask squeue, and scontrol about jobs that are over; as `Queue`."""
        if not ids:
            return {}
        # One id that the queue has forgotten makes squeue refuse alone, among others it is left out.
        done = _run(["squeue", "--noheader", "--states=all", f"--jobs={','.join(ids)}", "--format=%i|%T|%r"])
        if done.returncode and "Invalid job id" not in done.stderr:
            raise _refused("squeue", done)
        rows = (line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
        found = {row[0]: _of_slurm(row[1], row[2]) for row in rows}
        return {job: found[job] if job in found and not found[job].over else self._details(job) for job in ids}

    def cancel(self, ids: Sequence[str]) -> None:
        """Run scancel, as `Queue`."""
        if ids:
            done = _run(["scancel", "--quiet", *ids])
            if done.returncode and "Invalid job id" not in done.stderr:
                raise _refused("scancel", done)

    def _details(self, job: str) -> JobState:
        done = _run(["scontrol", "show", "job", "--oneliner", job])
        if done.returncode:
            if "Invalid job id" in done.stderr + done.stdout:
                return JobState("unknown")
            raise _refused("scontrol", done)
        told = dict(re.findall(r"\b(JobState|Reason|ExitCode)=(\S*)", done.stdout))
        code, _, signal = told.get("ExitCode", "").partition(":")
        number = int(code) if code.isdecimal() else None
        if number == 0 and signal not in ("", "0"):
            number = 128 + int(signal)  # as a shell has it
        return _of_slurm(told.get("JobState", ""), told.get("Reason", ""), number)


class Pbs:
    """OpenPBS and PBS Professional through their own programs."""

    system: System = "pbs"

    def submit(self, script: Path, folder: Path) -> str:
        """Hand in a script, as `Queue`."""
        found = _checked(["qsub", str(script)], folder).strip()
        if not re.fullmatch(r"\d+(\[\d*\])?(\.[\w.-]+)?", found):
            raise SchedulerError(f"qsub took {script}, but tells no job id: {_line(found)}")
        return found

    def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """Ask qstat, finished jobs too; as `Queue`."""
        if not ids:
            return {}
        done = _run(["qstat", "-x", "-f", "-F", "json", *ids])
        try:
            jobs: dict[str, Any] = json.loads(done.stdout or "{}").get("Jobs", {})
        except ValueError as error:
            raise SchedulerError(f"qstat answered with no JSON: {error}") from error
        if done.returncode and not jobs and "Unknown Job" not in done.stderr:
            raise _refused("qstat", done)
        short = {name.split(".")[0]: record for name, record in jobs.items()}
        return {job: _of_pbs(jobs.get(job) or short.get(job.split(".")[0])) for job in ids}

    def cancel(self, ids: Sequence[str]) -> None:
        """Run qdel, as `Queue`."""
        if ids:
            done = _run(["qdel", *ids])
            if done.returncode and not re.search(r"Unknown Job|has finished", done.stderr):
                raise _refused("qdel", done)


def log_tail(path: Path, lines: int) -> str:
    """Return the last lines of a log; empty where there is none."""
    if lines < 1:
        return ""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            wanted, step = b"", 0
            while step < size and wanted.count(b"\n") <= lines:
                step = min(size, max(2 * step, 8192))
                file.seek(size - step)
                wanted = file.read(step)
    except OSError:
        return ""
    return "\n".join(wanted.decode("utf-8", "replace").splitlines()[-lines:])


def _of_slurm(word: str, reason: str, code: int | None = None) -> JobState:
    reason = "" if reason == "None" else reason
    if word in PENDING:
        return JobState("pending", word, reason)
    if word == "COMPLETED":
        return JobState("ended", word, reason, code)
    if word in FAILED:
        return JobState("failed", word, reason, code)
    return JobState("running" if word else "unknown", word, reason)


def _of_pbs(record: Mapping[str, Any] | None) -> JobState:
    if record is None:
        return JobState("unknown")
    word, reason = str(record.get("job_state", "")), str(record.get("comment", ""))
    if word in ("F", "X"):
        code = record.get("Exit_status")
        number = None if code is None else int(code)
        return JobState("ended" if number == 0 else "failed", word, reason, number)
    if word in ("R", "E", "B", "S", "U"):
        return JobState("running", word, reason)
    return JobState("pending" if word else "unknown", word, reason)


def _checked(command: list[str], folder: Path) -> str:
    done = _run(command, folder)
    if done.returncode:
        raise _refused(command[0], done)
    return done.stdout


def _refused(program: str, done: subprocess.CompletedProcess[str]) -> SchedulerError:
    return SchedulerError(f"{program} refused: {_line(done.stderr) or _line(done.stdout) or done.returncode}")


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        raise SchedulerError(f"there is no {command[0]} on PATH; run this where jobs are submitted, on a login node")
    try:
        return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"{command[0]} did not answer in {PATIENCE:g} s; try again later") from error


def _line(text: str) -> str:
    """One line of what a program said, without the prefix that every line has."""
    return "; ".join(re.sub(r"^\w+: (error: )?", "", line).strip() for line in text.splitlines() if line.strip())

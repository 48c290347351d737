"""A job handed to a batch system: the folder that describes it, and how it is submitted and cancelled."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from xpcs_dask.cluster.batch import System, queue_of
from xpcs_dask.cluster.profile import Profile
from xpcs_dask.config import RunConfig
from xpcs_dask.engine.ledger import write_whole
from xpcs_dask.errors import ConfigError, XpcsError
from xpcs_dask.jobs.batch_script import WORKERS_TIMEOUT, Mode, Place, render
from xpcs_dask.jobs.manifest import Record

__all__ = ["JobExistsError", "Submission", "cancel", "find_submission", "job_config", "script_of", "submit"]

VERSION = 1
SUBMISSION, SETTINGS, SCRIPT, JOBS = "submission.json", "job.yaml", "job.sh", "jobs.txt"
RESULT, CANCELLED, LOG = "result.json", "cancelled", "job.log"
OF_A_TURN = (JOBS, RESULT, CANCELLED, "scheduler.json")


class JobExistsError(XpcsError):
    """A job that writes to this output waits or runs already."""

    exit_code = 8

    def __init__(self, output: str, job: str, word: str) -> None:
        super().__init__(output, job, word)
        self.output, self.job, self.word = output, job, word

    def __str__(self) -> str:
        return (
            f"job {self.job} for {self.output} is in the queue already ({self.word}); wait for it, or end it with: "
            f"xpcs-dask cancel {self.output}"
        )


class Submission(Record):
    """What was submitted, as ``submission.json`` in the folder of the job holds it."""

    version: int = VERSION
    system: System
    mode: Mode
    profile: dict[str, Any]
    """All that was asked of the batch system."""
    output: str
    start: str
    """Folder in which the job starts."""
    folder: str
    submitted: str
    """UTC."""
    ids: tuple[str, ...]
    """Jobs as they were submitted; a job that submits itself again adds to ``jobs.txt``."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `submit` wrote; raises `ConfigError`."""
        try:
            return cls.model_validate_json((folder / SUBMISSION).read_bytes())
        except OSError as error:
            raise ConfigError(f"{folder / SUBMISSION} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise ConfigError(f"{folder / SUBMISSION} describes no job: {error.errors()[0]['msg']}") from None

    @property
    def jobs(self) -> tuple[str, ...]:
        """Ids of all jobs so far; the last is the one that counts."""
        with suppress(OSError):
            more = (Path(self.folder) / JOBS).read_text().split()
            return tuple(dict.fromkeys((*self.ids, *more)))
        return self.ids


def job_config(config: RunConfig, profile: Profile, mode: str, place: Place) -> RunConfig:
    """Return the settings with which the job runs: `config`, with its place in the batch system for a scheduler."""
    scheduler: str = profile.system
    cluster = _asked(profile)
    if mode == "allocation":
        scheduler = f"file:{place.folder / 'scheduler.json'}"
        cluster = {"workers": profile.workers, "timeout": WORKERS_TIMEOUT}
        cluster |= {"tls": dict(profile.tls)} if profile.tls else {}
    return RunConfig.make(config, scheduler=scheduler, cluster=cluster)


def script_of(config: RunConfig, profile: Profile, mode: str) -> str:
    """Return the script that `submit` would hand in; writes nothing."""
    return render(profile, mode, _place(config))


def submit(config: RunConfig, profile: Profile, mode: str) -> Submission:
    """Write the folder of a job beside its output, and hand the script to the batch system.

    Parameters
    ----------
    config
        What is fitted; where it runs is replaced.
    profile
        What is asked of the batch system.
    mode
        ``allocation`` or ``workers`` (`batch_script.Mode`).

    Raises
    ------
    ConfigError
        A setting makes no sense.
    JobExistsError
        A job for the same output waits or runs.
    NoUsableInputError
        No file is where `config` looks for some.
    SchedulerError
        The batch system refuses it, or cannot be reached.
    """
    from xpcs_dask.jobs.job import check

    place = _place(config)
    job = job_config(config, profile, mode, place)
    check(job)
    _some_input(config)
    script, queue = render(profile, mode, place), queue_of(profile.system)
    folder, is_new = place.folder, not place.folder.exists()
    _no_other_job(folder)
    try:
        _write(folder, script, job)
        ids = (queue.submit(folder / SCRIPT, place.start),)
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    made = Submission(
        system=profile.system,
        mode=mode,
        profile=profile.model_dump(mode="json"),
        output=str(place.output),
        start=str(place.start),
        folder=str(folder),
        submitted=datetime.now(UTC).isoformat(timespec="seconds"),
        ids=ids,
    )
    write_whole(folder / SUBMISSION, (made.model_dump_json(indent=1) + "\n").encode())
    return made


def find_submission(path: Path) -> Submission:
    """Read what was submitted for a store, or in the folder of a job; raises `ConfigError` where nothing was."""
    place = Path(os.path.abspath(path))
    beside = place.with_name(f"{place.name}.job")
    for folder in (place, beside):
        if (folder / SUBMISSION).exists():
            return Submission.read(folder)
    raise ConfigError(f"no job was submitted for {path}: there is no {beside / SUBMISSION}")


def cancel(submission: Submission) -> list[str]:
    """End the jobs that are not over, and let none go on; returns their ids, raises `SchedulerError`."""
    folder, queue = Path(submission.folder), queue_of(submission.system)
    (folder / CANCELLED).touch()
    living = [job for job, state in queue.states(submission.jobs).items() if state.state in ("pending", "running")]
    queue.cancel(living)
    return living


def _place(config: RunConfig) -> Place:
    return Place(Path(os.path.abspath(config.output)), Path.cwd())


def _write(folder: Path, script: str, job: RunConfig) -> None:
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    for name in OF_A_TURN:
        (folder / name).unlink(missing_ok=True)
    settings = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(folder / SETTINGS, settings.encode())
    write_whole(folder / SCRIPT, script.encode())
    (folder / SCRIPT).chmod(0o755)


def _no_other_job(folder: Path) -> None:
    if not (folder / SUBMISSION).exists():
        return
    before = Submission.read(folder)
    states = queue_of(before.system).states(before.jobs)
    for job, state in states.items():
        if state.state in ("pending", "running"):
            raise JobExistsError(before.output, job, state.word)


def _some_input(config: RunConfig) -> None:
    """Find out before the queue does that a path is wrong; files are opened by the job."""
    import glob

    from xpcs_dask.errors import NoUsableInputError

    places = [os.path.expanduser(item) for item in config.inputs]
    if not any(os.path.exists(place) or glob.glob(place) for place in places):
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        raise NoUsableInputError(f"no file is there: {', '.join(places[:3])}{more}")


def _asked(profile: Profile) -> dict[str, Any]:
    """All of `profile` as settings of ``slurm`` or ``pbs``: what is configured on the node does not matter."""
    found = profile.model_dump(mode="json", exclude={"name", "system"})
    return {name: value for name, value in found.items() if value is not None and value != []}

"""How a submitted job is: what the queue says, how its last turn ended, and how many blocks are done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

from xpcs_dask.cluster.batch import JobState, log_tail, queue_of
from xpcs_dask.jobs.manifest import Record, manifest_path
from xpcs_dask.jobs.submission import CANCELLED, LOG, RESULT, Submission
from xpcs_dask.results.run import Unfinished

__all__ = ["JobStatus", "Word", "status"]

Word: TypeAlias = Literal["pending", "running", "finished", "stopped", "failed", "cancelled", "unknown"]

STOPPED = 75
TAIL = 10
SAID = {
    "pending": "waits in the queue",
    "running": "runs",
    "finished": "is finished",
    "stopped": "was stopped before it was finished; submit it again and it goes on",
    "failed": "has failed",
    "cancelled": "was cancelled; submit it again and it goes on",
    "unknown": "the queue does not know the job (any more), and the job has not told how it ended",
}


class JobStatus(Record):
    """What `xpcs-dask status` says."""

    state: Word
    said: str
    """The same in words, with the reason."""
    job: str
    """The last one of those that were submitted."""
    jobs: tuple[str, ...]
    """All of them: a job that is stopped before its walltime ends is followed by another."""
    queue_word: str
    queue_reason: str
    exit_code: int | None
    """As `xpcs-dask run` ends; null as long as the job is not over."""
    blocks_done: int | None
    blocks: int | None
    """All of them; both are null before the first one, and when the store is finished."""
    output: str
    manifest: str | None
    """When the output is finished."""
    log: str
    log_tail: tuple[str, ...]
    """Last lines, of a job that failed or is unknown."""


def status(submission: Submission) -> JobStatus:
    """Ask the queue and look into the folder of the job.

    Raises
    ------
    SchedulerError
        The queue cannot be reached.
    """
    folder, output, jobs = Path(submission.folder), Path(submission.output), submission.jobs
    queue = queue_of(submission.system).states(jobs[-1:])[jobs[-1]]
    result = _result(folder, jobs[-1])
    state, code = _judged(queue, result, (folder / CANCELLED).exists())
    counts = Unfinished(output).counts()
    manifest = manifest_path(output)
    return JobStatus(
        state=state,
        said=_words(state, queue, code),
        job=jobs[-1],
        jobs=jobs,
        queue_word=queue.word,
        queue_reason=queue.reason,
        exit_code=code,
        blocks_done=counts and counts[0],
        blocks=counts and counts[1],
        output=str(output),
        manifest=str(manifest) if state == "finished" and manifest.exists() else None,
        log=str(folder / LOG),
        log_tail=tuple(log_tail(folder / LOG, TAIL).splitlines()) if state in ("failed", "unknown") else (),
    )


def _judged(queue: JobState, result: dict[str, Any] | None, cancelled: bool) -> tuple[Word, int | None]:
    """Return how the job is and its exit code; the job knows that better than the queue once it is over."""
    if queue.state in ("pending", "running"):
        return queue.state, None
    code = int(result["exit_code"]) if result else queue.exit_code
    if code == 0 and (result or queue.state == "ended"):
        return "finished", 0
    if cancelled or queue.cancelled:
        return "cancelled", code
    if result and code == STOPPED:
        return "stopped", code
    if queue.state == "unknown" and result is None:
        return "unknown", None
    return "failed", code


def _words(state: Word, queue: JobState, code: int | None) -> str:
    found = SAID[state]
    if state in ("pending", "running", "failed") and queue.word:
        found += f" ({queue.word}" + (f": {queue.reason}" if queue.reason else "") + ")"
    return found + (f", exit code {code}" if state == "failed" and code is not None else "")


def _result(folder: Path, job: str) -> dict[str, Any] | None:
    """Return how the last turn ended, if it was one of `job`."""
    try:
        found = json.loads((folder / RESULT).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("job") == job and "exit_code" in found else None

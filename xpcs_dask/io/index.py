"""What many files tell but g2: kept from the last time, read here, or read by processes of their own where it pays.

Whichever way an answer came, it is the same. Errors are answers too: a file that cannot be used has its reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import check_told, identify, reader
from xpcs_dask.io.hdf5 import opened_once
from xpcs_dask.io.reader import NOTHING, FileInfo, Told

Answer: TypeAlias = FileInfo | FileRejected
Progress: TypeAlias = Callable[[int, int], None]
"""Called with files done and files in all, at most ten times a second and once at the end."""

FEW = 32
"""Fewer files than this are read here, and nothing is kept of them: that is the quickest."""
WORTH_WORKERS = 2.0
"""Seconds of reading left, by the files read so far, from which processes are started; starting takes about 0.5 s."""
WORTH_KEEPING = 0.5
"""Seconds of reading from which answers are kept."""


@dataclass(frozen=True)
class Question:
    """What every file is asked."""

    format: str | None = None
    """Found from the content if None."""
    include: frozenset[str] = frozenset({"temperature"})
    """Names of `schema.SCALARS`; temperature comes unasked."""
    told: Told = NOTHING


@dataclass(frozen=True)
class Reading:
    """Answer of one file, as it comes from reading it."""

    answer: Answer
    lasting: bool = True
    """Whether the file will answer so as long as it stays the same; what the system refuses today it may give later."""


def read(path: str, question: Question) -> Reading:
    """Ask one file; HDF5 opens it once, however many formats look into it."""
    try:
        with opened_once(path):
            name = question.format or identify(path)
            check_told(path, name, question.told)
            return Reading(reader(name).read_meta(path, question.include, question.told))
    except FileRejected as error:
        return Reading(error, lasting=not isinstance(error.__cause__, OSError))


def ask(
    paths: Sequence[str], question: Question, *, stop: bool = False, progress: Progress | None = None
) -> list[Answer]:
    """Ask files; the answers are in their order.

    Parameters
    ----------
    paths : sequence of str
        Files, each once.
    question : Question
        What they are asked.
    stop : bool
        Raise the first rejection, in the order of the files, instead of returning it.
    progress : callable, optional
        Told how many files are done.

    Raises
    ------
    FileRejected
        If `stop` and a file cannot be used.
    """
    from xpcs_dask.io import index_cache

    kept = index_cache.Kept(paths, question) if len(paths) >= FEW else None
    known = kept.answers() if kept else {}
    if stop:
        # What comes after a file that is known to be useless will not be needed.
        last = next((n for n, path in enumerate(paths, 1) if isinstance(known.get(path), FileRejected)), len(paths))
        paths = paths[:last]
    missing = [path for path in paths if path not in known]
    begun = time.perf_counter()
    tell = _Progress(progress, len(paths) - len(missing), len(paths))
    lasting: dict[str, Answer] = {}
    interned: dict[bytes, np.ndarray] = {}
    # Closed here, not when nobody refers to it any more: a traceback would keep its processes alive.
    with closing(_read_all(missing, question)) as readings:
        for path, reading in zip(missing, readings, strict=True):
            known[path] = share(reading.answer, interned)
            if reading.lasting:
                lasting[path] = reading.answer
            if stop and isinstance(reading.answer, FileRejected):
                break
            tell.one()
    if kept and time.perf_counter() - begun >= WORTH_KEEPING:
        kept.keep(lasting)
    tell.end()
    answers = [known[path] for path in paths if path in known]
    if stop and (first := next((one for one in answers if isinstance(one, FileRejected)), None)):
        raise first
    return answers


def _read_all(paths: Sequence[str], question: Question) -> Generator[Reading]:
    """Read files in order: here, until it is known that it takes long."""
    begun = time.perf_counter()
    for done, path in enumerate(paths, 1):
        yield read(path, question)
        left = (time.perf_counter() - begun) / done * (len(paths) - done)
        if done >= FEW // 2 and left > WORTH_WORKERS:
            from xpcs_dask.io.index_workers import read_in_workers

            yield from read_in_workers(paths[done:], question)
            return


SHARED = ("delay", "q", "phi", "labels", "level", "n_products", "n_pixels")
"""Arrays that most files of a series have in common."""


def share(answer: Answer, seen: dict[bytes, np.ndarray]) -> Answer:
    """Let equal arrays of several files be the same object; `seen` holds those that were met."""
    if isinstance(answer, FileInfo):
        for name in SHARED:
            array = getattr(answer, name)
            object.__setattr__(answer, name, seen.setdefault(array.dtype.char.encode() + array.tobytes(), array))
    return answer


class _Progress:
    """Passes on how many files are done, but not more often than anybody can see."""

    def __init__(self, tell: Progress | None, done: int, total: int) -> None:
        self.tell, self.done, self.total, self.last = tell, done, total, time.perf_counter()

    def one(self) -> None:
        self.done += 1
        if self.tell and (now := time.perf_counter()) - self.last > 0.1:
            self.last = now
            self.tell(self.done, self.total)

    def end(self) -> None:
        if self.tell:
            self.tell(self.done, self.total)

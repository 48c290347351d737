"""Processes that read what files tell: HDF5 has one lock for all threads of a process.

They are fresh interpreters that speak over pipes. `multiprocessing` would import the user's main module again (a script
without a guard would run twice) and refuses to start below a daemonic process such as a Dask worker.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from typing import Any

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.index import Question, Reading, read, share

logger = logging.getLogger(__name__)

BATCH = 16
"""Files that a process is asked for at a time, at most."""
MOST = 32
"""Processes, at most; more would wait for the disk."""

# The same modules as here, whatever was done to the path; standard output is for answers alone.
_START = """
import os, pickle, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:] = pickle.load(sys.stdin.buffer)
from xpcs_dask.io.index_workers import serve
serve(sys.stdin.buffer, answers)
"""
FILTERS = ("hdf5plugin",)
"""Modules that teach HDF5 to unpack, by being imported: what can be read here can be read there."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def read_in_workers(paths: Sequence[str], question: Question) -> Generator[Reading]:
    """Read files, in as many processes as this one has cores to itself; answers come in the order of `paths`.

    The processes end with the iteration, however that ends. A file that ends its process, as a damaged one can do
    through HDF5, is rejected. Where no process can be started, files are read here.
    """
    count = number_of_workers(len(paths))
    if count < 2:
        yield from (read(path, question) for path in paths)
        return
    size = max(1, min(BATCH, len(paths) // (4 * count)))
    batches = [paths[first : first + size] for first in range(0, len(paths), size)]
    team = Team(count, question)
    threads = ThreadPoolExecutor(count, thread_name_prefix="xpcs-index")
    try:
        for readings in threads.map(team.read, batches):
            yield from readings
    finally:
        team.kill()
        threads.shutdown(cancel_futures=True)
        team.close()


def number_of_workers(files: int) -> int:
    """Return how many to start: no more than cores that this process may use, nor than a quarter of the files."""
    if not sys.executable or getattr(sys, "frozen", False):
        return 1
    from dask.system import cpu_count

    return max(1, min(cpu_count(), MOST, files // 4))


def serve(requests: Any, answers: Any) -> None:
    """Answer requests until there are no more; what the process of a `Worker` runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # nothing here is in a circle, and there are hundreds of small objects a file
    with suppress(EOFError, BrokenPipeError):
        for module in pickle.load(requests):
            with suppress(ImportError):
                importlib.import_module(module)
        question = pickle.load(requests)
        _send(answers, None)
        while True:
            _send(answers, _answers(pickle.load(requests), question))


def _answers(paths: Sequence[str], question: Question) -> list[Reading] | None:
    """Read files; None for an error in the program, which whoever asked shall meet himself."""
    try:
        readings = [read(path, question) for path in paths]
    except Exception:  # whatever it is, it is raised again where it can be seen: in the process that asked
        return None
    seen: dict[bytes, Any] = {}
    for reading in readings:
        share(reading.answer, seen)  # what is the same object is sent once
    return readings


def _send(stream: Any, what: Any) -> None:
    pickle.dump(what, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()


class Died(Exception):
    """A process ended before it answered."""


class Worker:
    """One process that reads files. It leaves Ctrl-C to us and ends when its pipe is closed: it never outlives us."""

    def __init__(self, question: Question) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
        self._question = question

    def start(self) -> None:
        """Wait until it is ready; raises `Died`."""
        for what in (sys.path, [name for name in FILTERS if name in sys.modules], self._question):
            self._tell(what)
        self._hear()

    def read(self, paths: Sequence[str]) -> list[Reading] | None:
        """Let it read files; None if that failed through no fault of a file. Raises `Died`."""
        self._tell(paths)
        return self._hear()

    def kill(self) -> int:
        """End it at once; returns its exit code, negative for a signal that ended it before."""
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """Close the pipes; nobody may be waiting for an answer."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _tell(self, what: Any) -> None:
        try:
            _send(self._process.stdin, what)
        except OSError as error:
            raise Died from error

    def _hear(self) -> Any:
        try:
            return pickle.load(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Died from error


class Team:
    """Processes, each used by one thread at a time."""

    def __init__(self, count: int, question: Question) -> None:
        self._question = question
        self._lock = Lock()
        self._alive: set[Worker] = set()
        self._useless = self._ended = False
        self._free: SimpleQueue[Worker | None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def read(self, paths: Sequence[str]) -> list[Reading]:
        """Read files in whichever process is free; called by threads."""
        worker = self._free.get()
        try:
            readings, worker = self._read(worker, paths)
        finally:
            self._free.put(worker)
        return readings

    def _read(self, worker: Worker | None, paths: Sequence[str]) -> tuple[list[Reading], Worker | None]:
        """Return readings, and the process to go on with; one that died is replaced."""
        worker = worker or self._new()
        if worker is None:
            return [read(path, self._question) for path in paths], None
        try:
            readings = worker.read(paths)
            return readings or [read(path, self._question) for path in paths], worker
        except Died:
            code = self._dismiss(worker)
        if len(paths) == 1:
            reason = f"it ended the process that read it (exit code {code}): it is damaged, or memory ran out"
            return [Reading(FileRejected(paths[0], reason), lasting=False)], None
        readings, worker = [], None
        for path in paths:
            one, worker = self._read(worker, [path])
            readings += one
        return readings, worker

    def _new(self) -> Worker | None:
        """Start a process; None, and never again, if that cannot be done."""
        if self._useless:
            return None
        try:
            with self._lock:
                if self._ended:
                    raise Died
                worker = Worker(self._question)
                self._alive.add(worker)
            worker.start()
        except (OSError, Died) as error:
            if not self._ended:
                logger.info("no process can be started to read files, they are read here: %s", error)
            self._useless = True
            return None
        return worker

    def _dismiss(self, worker: Worker) -> int:
        if self._ended:
            raise Died
        code = worker.kill()
        with self._lock:
            self._alive.discard(worker)
        worker.close()
        return code

    def kill(self) -> None:
        """End all processes; whoever waits for one hears of it."""
        with self._lock:
            self._ended = True
            for worker in self._alive:
                worker.kill()

    def close(self) -> None:
        """Close all pipes, after `kill` and when no thread reads any more."""
        for worker in self._alive:
            worker.close()

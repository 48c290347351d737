"""One owner at a time for a folder that is being written, known by host, process and age."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from xpcs_dask.errors import XpcsError

__all__ = ["Lock", "StoreLockedError"]

BEAT = 10.0
"""Seconds between two signs of life of an owner."""
SILENCE = 60.0
"""Seconds without a sign of life after which an owner on another host is taken for dead."""
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that know no locks."""


class StoreLockedError(XpcsError):
    """Another process is writing there."""

    exit_code = 8

    def __init__(self, path: str, owner: str, age: float) -> None:
        super().__init__(path, owner, age)
        self.path, self.owner, self.age = path, owner, age

    def __str__(self) -> str:
        return (
            f"{self.path} is being written by {self.owner}, last seen {self.age:.0f} s ago; wait for it, stop it, or "
            f"choose another output (an owner on another host that is silent for {SILENCE:g} s is taken for dead)"
        )


class Lock:
    """Hold a file as proof of being the only writer; the kernel lets go of it when the process ends, however it ends.

    Where the file system passes locks on between hosts (NFS 4, GPFS, Lustre with ``flock``) that alone is enough.
    Where it keeps them to one host, or knows none, an owner on another host is believed as long as the time of the
    file, which the file system itself sets at every `beat`, is recent; two hosts that begin within the same moment on
    such a file system are not told apart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._last = 0.0

    def acquire(self) -> Self:
        """Become the owner.

        Raises
        ------
        StoreLockedError
            Somebody else is; names host, process and age.
        """
        while self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the owner before has just removed the folder
                continue
            try:
                self._take(file)
                if _same_file(file, self.path):  # else the owner before has just removed it
                    self._file = file
            finally:
                if self._file is None:
                    os.close(file)
        self._sign()
        return self

    def _take(self, file: int) -> None:
        owner = _owner(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLockedError(str(self.path.parent), _named(owner), self._age(file)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise
            if owner and owner["host"] == socket.gethostname() and _alive(int(owner["process"])):
                raise StoreLockedError(str(self.path.parent), _named(owner), self._age(file)) from None
        owner = _owner(file)
        if owner and owner["host"] != socket.gethostname() and (age := self._age(file)) < SILENCE:
            raise StoreLockedError(str(self.path.parent), _named(owner), age)

    def _age(self, file: int) -> float:
        """Seconds since the owner was last seen, by the clock of the file system: hosts may disagree."""
        probe = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            probe.touch()
            now = probe.stat().st_mtime
        except OSError:
            now = time.time()
        finally:
            probe.unlink(missing_ok=True)
        return max(0.0, now - os.fstat(file).st_mtime)

    def _sign(self) -> None:
        if self._file is None:
            return
        text = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}).encode()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)
        self._last = time.monotonic()

    def beat(self) -> None:
        """Give a sign of life, at most every `BEAT` seconds."""
        if self._file is not None and time.monotonic() - self._last >= BEAT:
            os.utime(self._file)
            self._last = time.monotonic()

    def release(self) -> None:
        """Let go; others may own the folder now."""
        if self._file is None:
            return
        with suppress(OSError):
            if _same_file(self._file, self.path):
                self.path.unlink()
        os.close(self._file)
        self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _owner(file: int) -> dict[str, Any] | None:
    """Return who wrote the file; None for an empty or unreadable one."""
    try:
        found = json.loads(os.pread(file, 4096, 0))
        return found if isinstance(found, dict) and {"host", "process"} <= found.keys() else None
    except ValueError:
        return None


def _named(owner: dict[str, Any] | None) -> str:
    return f"process {owner['process']} on {owner['host']}" if owner else "a process that has just begun"


def _same_file(file: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

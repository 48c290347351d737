"""Arrays kept in files, one an entry: found by name, counted, forgotten when there are too many.

Nothing here loads a pickle, which is why `joblib.Memory` is not used: it pickles what it keeps, and whoever can write
to its folder runs code in every later session. (It also names functions by their own source alone, so that a helper
that changed would give the old result.) An entry that is damaged in any way is not found, and removed.

Any number of processes and hosts may use one folder: entries appear whole, by renaming, and equal names have equal
content. A count may miss a use that another process made at the same moment.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpcs_dask.engine.budget import parse_bytes
from xpcs_dask.engine.cache_entry import about, count_use, open_entry, pack, unpack
from xpcs_dask.engine.cache_folder import cache_folder, is_in_memory, private_folder
from xpcs_dask.engine.ledger import write_whole
from xpcs_dask.errors import ConfigError

__all__ = ["Cache", "Entry", "Info"]

logger = logging.getLogger(__name__)

FOLDER = "fits"
"""Of the entries, in a folder that may hold other things."""
LIMIT = 2 * 2**30
"""Bytes that all entries may take, if ``XPCS_CACHE_LIMIT`` does not say otherwise."""
RESERVE = 2**30
"""Bytes that are left free on the disk; on a small one, a twentieth of it."""
LOW_WATER = 0.9
"""Share of the limit that pruning leaves, so that it is not needed again at once."""
STRIDE = 32
"""The folder is looked through when a process has written this share of the limit, 1/32, ..."""
OFTEN = 600.0
"""... and when nobody did so for these seconds."""
ABANDONED = 3600.0
"""Seconds after which a file that is still being written has been given up."""
NAME = re.compile(r"[0-9a-f]{32}\.npy")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache as it is found."""

    path: Path
    nbytes: int
    used: float
    """When it was last read or written, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a cache holds."""

    folder: str
    entries: int
    bytes: int
    limit: int
    uses: int
    """Times that entries which are still there were read."""
    oldest_days: float
    """Since the first of the entries was written."""
    unused_days: float
    """Since the entry that was left alone longest was last used."""


class Cache:
    """Arrays by name in a private folder, the least recently used forgotten beyond a number of bytes.

    Parameters
    ----------
    folder : Path
        Made with mode 700 if missing; entries are in its folder ``fits``, anything else is left alone.
    limit : int, optional
        Bytes; by default ``XPCS_CACHE_LIMIT`` or 2 GiB.

    Raises
    ------
    CacheFolderError
        If the folder or ``fits`` in it belongs to, or can be written by, anybody else.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = private_folder(private_folder(folder) / FOLDER)
        self.limit = _told_limit() if limit is None else limit
        self._written: int | None = None
        """Bytes since the folder was last looked through; None before the first one."""

    @classmethod
    def of_environment(cls) -> Cache | None:
        """Return the cache in ``XPCS_CACHE_DIR`` or ``~/.xpcs_toolkit``; None if the former is ``off``."""
        folder = cache_folder()
        return None if folder is None else cls(folder)

    def get(self, name: bytes) -> np.ndarray[Any, Any] | None:
        """Array of that name, of which this is a use; None if there is none, or if its file is damaged."""
        path = self._path(name)
        try:
            file = open_entry(path)
        except OSError:
            return None
        try:
            with open(file, "rb", buffering=0, closefd=False) as whole:
                content = whole.read()
            found = unpack(name, content)
            if found is not None:
                count_use(file, content)
        except OSError as error:
            logger.info("%s cannot be read: %s", path, error)
            return None
        finally:
            os.close(file)
        if found is None:
            logger.info("%s is damaged and was removed; its fits are made again", path)
            with suppress(OSError):
                path.unlink()
        return found

    def put(self, name: bytes, array: np.ndarray[Any, Any]) -> bool:
        """Keep an array, which must hold no objects; returns whether there was room for it."""
        content = pack(name, array)
        path = self._path(name)
        try:
            if not self._has_room(len(content)):
                return False
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            logger.info("%s cannot be kept: %s", path, error)
            return False
        return True

    def entries(self) -> Iterator[Entry]:
        """All entries; those that another process removes meanwhile are left out."""
        for path, state in self._files():
            if NAME.fullmatch(path.name):
                yield Entry(path, state.st_size, state.st_mtime)

    def info(self) -> Info:
        """Count what is there."""
        found, now = list(self.entries()), time.time()
        known = [about(entry.path) for entry in found]
        return Info(
            folder=str(self.folder),
            entries=len(found),
            bytes=sum(entry.nbytes for entry in found),
            limit=self.limit,
            uses=sum(uses for uses, _ in known),
            oldest_days=_days(now, [written for _, written in known if written]),
            unused_days=_days(now, [entry.used for entry in found]),
        )

    def prune(self, limit: int | None = None, unused_days: float | None = None) -> tuple[int, int]:
        """Forget what has not been used for so many days, then the least recently used beyond `limit` bytes.

        Of entries that were left alone about equally long, those that were used less often go first.

        Returns
        -------
        entries, bytes : int
            That were removed.
        """
        now = time.time()
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        old = [entry for entry in entries if unused_days is not None and now - entry.used > unused_days * 86400]
        left = entries[len(old) :]
        excess = sum(entry.nbytes for entry in left) - (self.limit if limit is None else limit)
        self._tidy(now)
        return _remove([*old, *_least_used(left, excess)])

    def clear(self) -> tuple[int, int]:
        """Forget everything; returns how many entries and bytes that were."""
        return self.prune(limit=0)

    def relieve(self) -> None:
        """Give memory back if files of this cache take any (tmpfs): half of what they take now."""
        if is_in_memory(self.folder):
            self.prune(limit=sum(entry.nbytes for entry in self.entries()) // 2)

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return Path(f"{self.folder}/{text[:2]}/{text}.npy")

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for above in _listed(self.folder):
            for item in _listed(above.path) if above.is_dir(follow_symlinks=False) else ():
                with suppress(OSError):
                    yield Path(item.path), item.stat(follow_symlinks=False)

    def _has_room(self, nbytes: int) -> bool:
        """Whether there is room for more, after pruning if it is time for that."""
        first, self._written = self._written is None, (self._written or 0) + nbytes
        if nbytes > self.limit:
            return False
        short = _free(self.folder) < nbytes
        if self._written > self.limit // STRIDE or ((first or short) and not self._looked_lately()):
            self._look(short)
        return not short or _free(self.folder) >= nbytes

    def _look(self, short: bool) -> None:
        """Prune: to a share of the limit if there is more, to half of what there is if the disk is short of space."""
        self._written = 0
        (self.folder / "looked").touch(mode=0o600)
        total = sum(entry.nbytes for entry in self.entries())
        if short or total > self.limit:
            entries, nbytes = self.prune(limit=total // 2 if short else int(LOW_WATER * self.limit))
            logger.info("%d entries (%d bytes) of %s were forgotten", entries, nbytes, self.folder)

    def _looked_lately(self) -> bool:
        try:
            return time.time() - (self.folder / "looked").stat().st_mtime < OFTEN
        except OSError:
            return False

    def _tidy(self, now: float) -> None:
        """Remove what processes left behind that were ended while they wrote."""
        for path, state in list(self._files()):
            if path.name.startswith(".") and now - state.st_mtime > ABANDONED:
                path.unlink(missing_ok=True)


def _told_limit() -> int:
    told = os.environ.get("XPCS_CACHE_LIMIT")
    if not told:
        return LIMIT
    try:
        return parse_bytes(told)
    except ConfigError:
        raise ConfigError(f"XPCS_CACHE_LIMIT takes a size such as 500MB or 1GiB; got '{told}'") from None


def _least_used(entries: list[Entry], excess: int) -> list[Entry]:
    """Entries to remove so that `excess` bytes go: of the oldest that hold twice that, those with the fewest uses."""
    oldest = list(_up_to(entries, 2 * excess))
    return list(_up_to(sorted(oldest, key=lambda entry: (about(entry.path)[0], entry.used)), excess))


def _up_to(entries: Iterable[Entry], nbytes: int) -> Iterator[Entry]:
    for entry in entries:
        if nbytes <= 0:
            return
        yield entry
        nbytes -= entry.nbytes


def _remove(entries: Iterable[Entry]) -> tuple[int, int]:
    removed = nbytes = 0
    for entry in entries:
        with suppress(OSError):
            entry.path.unlink()
            removed, nbytes = removed + 1, nbytes + entry.nbytes
    return removed, nbytes


def _listed(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _free(folder: Path) -> int:
    """Bytes that may still be written to the disk; it is never filled to the last."""
    disk = shutil.disk_usage(folder)
    return disk.free - min(RESERVE, disk.total // 20)


def _days(now: float, times: list[float]) -> float:
    return round((now - min(times)) / 86400, 3) if times else 0.0

"""Answers kept from the last time, one file for each folder of results and question.

An answer holds as long as size and times of its file stay the same: the time of modification, and that of the last
change of any kind, which no program can set. A file that changed less than two seconds before it was read is not kept:
it could change again within one tick of the clock. Nothing here can stop a program: what cannot be kept or used is read
again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.index import Answer, Question
from xpcs_dask.io.reader import FileInfo

logger = logging.getLogger(__name__)

SETTLED = 2.0
"""Seconds that a file must have been left alone before its answer is kept."""
MOST_FILES = 200_000
"""Answers kept for one folder."""
MOST_STORES = 100
"""Folders and questions kept; the oldest go first."""
UNFINISHED = ".writing-"

State: TypeAlias = tuple[int, int, int]
"""Size, time of modification and time of the last change (ns) of a file."""


def folder() -> Path | None:
    """Folder to keep answers in, made if missing; None if there is none that is the user's own.

    ``XPCS_DASK_CACHE`` names it (``off``: nothing is kept); else it is below ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    told = os.environ.get("XPCS_DASK_CACHE")
    if told == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = Path(told or os.path.join(base, "xpcs_dask", "index"))
    if not found.is_absolute():  # "~" stays as it is where there is no home
        logger.warning("%s is not an absolute path: what files tell is not kept for the next time", found)
        return None
    try:
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = found.stat()
    except OSError as error:
        logger.info("what files tell is not kept for the next time: %s", error)
        return None
    if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o022:
        logger.warning("%s is not used: others can write it; make it your own with mode 700", found)
        return None
    return found


class Kept:
    """What is kept of some files for one question."""

    def __init__(self, paths: Sequence[str], question: Question) -> None:
        self._asked: dict[Path, dict[str, tuple[str, State]]] = {}
        """Of each store: of each name, the path as it was given and the state before it is read."""
        self._found: dict[Path, dict[str, tuple[State, Answer]]] = {}
        where = folder()
        if where is None:
            return
        stores: dict[str, Path] = {}
        for path in paths:
            above, name = os.path.split(path)
            if above not in stores:
                stores[above] = where / f"{_key(os.path.realpath(above), question)}.npz"
            with suppress(OSError):
                self._asked.setdefault(stores[above], {})[name] = path, _state(path)

    def answers(self) -> dict[str, Answer]:
        """Answers that still hold, by path."""
        valid: dict[str, Answer] = {}
        for store, asked in self._asked.items():
            self._found[store] = load(store)
            for name, (path, state) in asked.items():
                known = self._found[store].get(name)
                if known and known[0] == state:
                    valid[path] = _named(known[1], path)
        return valid

    def keep(self, lasting: Mapping[str, Answer]) -> None:
        """Keep answers that were read since, beside those that were there."""
        recent = (time.time() - SETTLED) * 1e9
        for store, asked in self._asked.items():
            entries = self._found.get(store, {})
            for name, (path, state) in asked.items():
                if path in lasting and max(state[1:]) <= recent:
                    entries[name] = state, lasting[path]
            save(store, dict(list(entries.items())[-MOST_FILES:]))


def _state(path: str) -> State:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _key(above: str, question: Question) -> str:
    asked = [above, question.format, sorted(question.include), asdict(question.told), _readers()]
    return hashlib.blake2b(json.dumps(asked).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


@cache
def _readers() -> str:
    """Hash of the program that reads: another version may answer otherwise."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _named(answer: Answer, path: str) -> Answer:
    """Give the answer the path by which its file is asked for now."""
    if isinstance(answer, FileRejected):
        return FileRejected(path, answer.reason)
    object.__setattr__(answer, "path", path)
    return answer


ARRAYS = ("delay", "q", "phi", "labels", "level", "n_products", "n_pixels", "rate")
OTHERS = tuple(field.name for field in fields(FileInfo) if field.name not in {"path", *ARRAYS})


def save(store: Path, entries: Mapping[str, tuple[State, Answer]]) -> None:
    """Write all entries of a store at once: whoever reads it meanwhile sees the old or the new."""
    try:
        head, body = _packed(entries)
        handle, name = tempfile.mkstemp(dir=store.parent, prefix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, head=head, body=body)
            os.replace(name, store)
        except BaseException:
            os.unlink(name)
            raise
    except Exception as error:  # a full disk, a folder that is gone: the answers are there all the same
        logger.info("what files tell is not kept for the next time: %s", error)
    _tidy(store.parent)


def _packed(entries: Mapping[str, tuple[State, Answer]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """JSON of all entries, and the arrays that they name by number, each once."""
    places: dict[tuple[str, bytes], int] = {}
    records = [[name, *state, _record(answer, places)] for name, (state, answer) in entries.items()]
    table = [[kind, len(values)] for kind, values in places]
    head = json.dumps([table, records], default=np.generic.item).encode()
    return np.frombuffer(head, np.uint8), np.frombuffer(b"".join(values for _, values in places), np.uint8)


def load(store: Path) -> dict[str, tuple[State, Answer]]:
    """Read all entries of a store; none if there is none, or if it is damaged."""
    try:
        with store.open("rb") as file, np.load(file, allow_pickle=False) as held:
            table, records = json.loads(held["head"].tobytes())
            body = held["body"]
        ends = np.cumsum([size for _, size in table]).tolist()
        arrays = [body[end - size : end].view(kind) for (kind, size), end in zip(table, ends, strict=True)]
        return {name: ((size, at, changed), _answer(record, arrays)) for name, size, at, changed, record in records}
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file can fail in any way, and none of them matters
        logger.info("%s cannot be read, the files are read again: %s", store, error)
        return {}


def _record(answer: Answer, places: dict[tuple[str, bytes], int]) -> Any:
    """Answer as what JSON can hold; arrays as their number in `places`, which grows."""
    if isinstance(answer, FileRejected):
        return answer.reason
    arrays = [getattr(answer, name) for name in ARRAYS]
    numbers = [places.setdefault((array.dtype.str, array.tobytes()), len(places)) for array in arrays]
    others = {name: getattr(answer, name) for name in OTHERS}
    others["scalars"] = dict(answer.scalars)
    others["start_time"] = answer.start_time and answer.start_time.isoformat()
    return [numbers, list(others.values())]


def _answer(record: Any, arrays: Sequence[np.ndarray[Any, Any]]) -> Answer:
    if isinstance(record, str):
        return FileRejected("", record)
    numbers, values = record
    others = dict(zip(OTHERS, values, strict=True))
    others["notes"] = tuple(others["notes"])
    others["start_time"] = others["start_time"] and datetime.fromisoformat(others["start_time"])
    # Checked when it was first made; 10,000 times again would take longer than all the rest.
    info = object.__new__(FileInfo)
    info.__dict__.update(others, path="", **{name: arrays[n] for name, n in zip(ARRAYS, numbers, strict=True)})
    return info


def _tidy(where: Path) -> None:
    """Remove the oldest stores, and what programs left behind that were ended while they wrote."""
    with suppress(OSError):
        oldest = sorted(where.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-MOST_STORES]
        left = [path for path in where.glob(f"{UNFINISHED}*") if path.stat().st_mtime < time.time() - 3600]
        for path in oldest + left:
            path.unlink()

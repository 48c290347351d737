"""Outputs that are whole or not there: written beside their place under another name, renamed when complete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

__all__ = ["whole"]

LATE = (0.1, 0.3)
"""Seconds between looks at what a failed write left: tasks of other threads may still write, and make folders anew."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write a file or folder to; at the end of the ``with`` block it becomes `path`.

    What was at `path` is replaced then, and stays as it was if the block raises; what was written so far is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path, "partial")
    try:
        yield unfinished
        _put(unfinished, path)
    except BaseException:
        _remove(unfinished)
        for pause in LATE:
            time.sleep(pause)
            _remove(unfinished)
        raise


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.{what}")


def _put(finished: Path, path: Path) -> None:
    """Rename into place; what was there is moved away first and deleted last (a folder cannot replace a folder)."""
    if finished.is_dir() and path.exists():
        old = _beside(path, "old")
        path.rename(old)
        finished.rename(path)
        _remove(old)
    else:
        finished.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
